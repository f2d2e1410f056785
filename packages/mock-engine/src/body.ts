import type { Refusal } from "./errors.ts";
import { jsonProblem } from "./python-json.ts";

/** One entry of pydantic's list of errors, in the order in which vLLM prints it. */
interface FieldError {
  readonly type: string;
  readonly loc: string;
  readonly msg: string;
  readonly input: string;
  readonly ctx?: { readonly error: string };
}

export type JsonObject = Readonly<Record<string, unknown>>;
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal };

function pythonString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return `${quote}${quote === "'" ? escaped.replaceAll("'", "\\'") : escaped}${quote}`;
}

/** How vLLM shows the offending value: containers are described, not printed. */
function summary(input: unknown): string {
  if (Array.isArray(input)) return `<list of ${input.length} items>`;
  if (typeof input === "object" && input !== null) return `<dict of ${Object.keys(input).length} items>`;
  if (input === null) return "None";
  if (typeof input === "boolean") return input ? "True" : "False";
  const text = String(input);
  return text.length > 200 ? `${text.slice(0, 200)}...[truncated]` : text;
}

function validation(lines: readonly string[], param: string | undefined): Refusal {
  const message = `${lines.length} validation ${lines.length === 1 ? "error" : "errors"}:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return { status: 400, type: "Bad Request", message, param };
}

/** FastAPI's refusal of a body, in the form that vLLM gives it. */
function invalidFields(errors: readonly FieldError[]): Refusal {
  const lines = errors.map(({ ctx, ...fields }) => {
    const pairs = Object.entries(fields).map(([key, value]) => `'${key}': ${pythonString(value)}`);
    if (ctx !== undefined) pairs.push(`'ctx': {'error': ${pythonString(ctx.error)}}`);
    return `{${pairs.join(", ")}}`;
  });
  return validation(lines, errors[0]?.loc);
}

/** Parses a body as FastAPI does for a route that takes a JSON object. */
export function parseObject(contentType: string | undefined, body: Buffer | undefined): Parsed<JsonObject> {
  if ((contentType ?? "").toLowerCase().split(";", 1)[0] !== "application/json") {
    return { ok: false, refusal: validation(["Unsupported Media Type: Only 'application/json' is allowed"], undefined) };
  }
  const text = body?.toString("utf8") ?? "";
  if (text === "") return { ok: false, refusal: invalidFields([{ type: "missing", loc: "body", msg: "Field required", input: "None" }]) };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const { at, why } = jsonProblem(error, text);
    const entry = { type: "json_invalid", loc: `body.${at}`, msg: "JSON decode error", input: "<dict of 0 items>", ctx: { error: why } };
    return { ok: false, refusal: invalidFields([entry]) };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const msg = "Input should be a valid dictionary or object to extract fields from";
    return { ok: false, refusal: invalidFields([{ type: "model_attributes_type", loc: "body", msg, input: summary(value) }]) };
  }
  return { ok: true, value: value as JsonObject };
}

/** What a field must be. Required fields must be there; the others may be absent or null. */
export interface FieldRule {
  readonly type: "string" | "integer" | "boolean" | "list";
  readonly required?: boolean;
}

/** What is wrong with a value, in pydantic's words; undefined if it is right. Numbers may come as strings. */
function typeError(value: unknown, type: FieldRule["type"]): Pick<FieldError, "type" | "msg"> | undefined {
  switch (type) {
    case "string":
      return typeof value === "string" ? undefined : { type: "string_type", msg: "Input should be a valid string" };
    case "boolean":
      return typeof value === "boolean" ? undefined : { type: "bool_type", msg: "Input should be a valid boolean" };
    case "list":
      return Array.isArray(value) ? undefined : { type: "list_type", msg: "Input should be a valid list" };
    case "integer":
      if (toInteger(value) !== undefined) return undefined;
      if (typeof value !== "string") return { type: "int_type", msg: "Input should be a valid integer" };
      return { type: "int_parsing", msg: "Input should be a valid integer, unable to parse string as an integer" };
  }
}

/** The integer that a JSON value stands for, if any. */
export function toInteger(value: unknown): number | undefined {
  const number = typeof value === "string" && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  return Number.isInteger(number) ? (number as number) : undefined;
}

/** Checks fields in the order of the rules; undefined when all are right. */
export function checkFields(body: JsonObject, rules: Readonly<Record<string, FieldRule>>): Refusal | undefined {
  const errors: FieldError[] = [];
  for (const [name, rule] of Object.entries(rules)) {
    const value = body[name];
    const loc = `body.${name}`;
    if (value === undefined) {
      if (rule.required === true) errors.push({ type: "missing", loc, msg: "Field required", input: summary(body) });
    } else if (value !== null || rule.required === true) {
      const wrong = typeError(value, rule.type);
      if (wrong !== undefined) errors.push({ type: wrong.type, loc, msg: wrong.msg, input: summary(value) });
    }
  }
  return errors.length === 0 ? undefined : invalidFields(errors);
}

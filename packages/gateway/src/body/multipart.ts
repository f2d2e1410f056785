import { isUtf8 } from "node:buffer";
import { missingModel, modelNotAString, unreadableBody } from "../openai/errors.ts";
import type { ModelInBody } from "./types.ts";

const EXAMPLE = "add a form field, as curl does with -F model=NAME";
const CRLF = "\r\n";

/**
 * Reads the form field `model` of a `multipart/form-data` body (RFC 7578). Where the field stands twice the last one counts, as it does
 * for the engine. It is strict: a body that is not formed as the RFC says is refused, for the engine might read another model in it.
 */
export function modelInMultipart(body: Buffer, contentType: string): ModelInBody {
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) {
    return { refused: unreadableBody("this path takes multipart/form-data with a boundary, in UTF-8, in its content-type") };
  }
  const delimiter = Buffer.from(`${CRLF}--${boundary}`, "latin1");
  const first = delimiter.subarray(CRLF.length);
  if (!body.subarray(0, first.length).equals(first)) return { refused: unreadableBody("it does not begin with its boundary") };

  let model: string | undefined;
  let at = first.length;
  while (!body.subarray(at, at + 2).equals(Buffer.from("--"))) {
    if (body.toString("latin1", at, at + 2) !== CRLF) return { refused: unreadableBody("a boundary is not followed by a new line") };
    const end = body.indexOf(delimiter, at);
    const headersEnd = body.indexOf(`${CRLF}${CRLF}`, at);
    if (end === -1 || headersEnd === -1 || headersEnd > end) return { refused: unreadableBody("a part of the form is cut short") };
    const part = dispositionOf(body.toString("latin1", at + CRLF.length, headersEnd));
    if (part === undefined) return { refused: unreadableBody("a part has no plain content-disposition with a name") };
    if (part.name === "model") {
      if (part.isFile) return { refused: modelNotAString("a file") };
      const value = body.subarray(headersEnd + 2 * CRLF.length, end);
      if (!isUtf8(value)) return { refused: unreadableBody("the field model is not UTF-8") };
      model = value.toString("utf8");
    }
    at = end + delimiter.length;
  }
  if (model === undefined) return { refused: missingModel(EXAMPLE) };
  return model === "" ? { refused: modelNotAString("an empty string") } : { model };
}

/** A parameter of a header: `; name=token` or `; name="text"`, in which no quote is escaped, for readers differ in how they take that. */
const PARAMETER = /;[ \t]*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\(?!"))*)"|([\w!#$%&'*+.^`|~/:-]+))[ \t]*/y;
const HEADER = /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*)$/;

/** The parameters of a header's value behind its first word; `undefined` where it is not plainly written, or one stands twice. */
function parametersOf(value: string, word: string): ReadonlyMap<string, string> | undefined {
  if (value.slice(0, word.length).toLowerCase() !== word) return undefined;
  const parameters = new Map<string, string>();
  let at = word.length;
  while (/[ \t]/.test(value[at] ?? "")) at++;
  while (at < value.length) {
    PARAMETER.lastIndex = at;
    const match = PARAMETER.exec(value);
    if (match === null) return undefined;
    const name = (match[1] ?? "").toLowerCase();
    // Of RFC 2231's forms (`name*=`, `name*0=`) some readers make the plain parameter.
    if (parameters.has(name) || (name.includes("*") && name !== "filename*")) return undefined;
    parameters.set(name, match[2] ?? match[3] ?? "");
    at = PARAMETER.lastIndex;
  }
  return parameters;
}

function boundaryOf(contentType: string): string | undefined {
  const parameters = parametersOf(contentType, "multipart/form-data");
  // The engine reads fields in this character set.
  if (!/^utf-?8$/i.test(parameters?.get("charset") ?? "utf-8")) return undefined;
  const boundary = parameters?.get("boundary");
  return boundary === undefined || boundary.length > 70 || boundary === "" ? undefined : boundary;
}

/** Name of a part, and whether it is a file; `undefined` where readers could differ about it. */
function dispositionOf(headers: string): { readonly name: string; readonly isFile: boolean } | undefined {
  let found: ReadonlyMap<string, string> | undefined;
  for (const line of headers === "" ? [] : headers.split(CRLF)) {
    const header = HEADER.exec(line);
    if (header === null) return undefined;
    if (header[1]?.toLowerCase() !== "content-disposition") continue;
    if (found !== undefined) return undefined;
    found = parametersOf(header[2] ?? "", "form-data");
    if (found === undefined) return undefined;
  }
  const name = found?.get("name");
  return name === undefined ? undefined : { name, isFile: found?.has("filename") === true || found?.has("filename*") === true };
}

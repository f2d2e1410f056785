import { isUtf8 } from "node:buffer";
import { missingModel, modelNotAString, unreadableBody } from "../openai/errors.ts";
import type { ModelInBody } from "./types.ts";

const EXAMPLE = 'write it as {"model": "NAME", …}';

/** Reads `model` of a JSON body. Where the key stands twice the last one counts, as it does for the engine. */
export function modelInJson(body: Buffer): ModelInBody {
  if (!isUtf8(body)) return { refused: unreadableBody("it is not UTF-8") };
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    // The parser's message repeats the body, and with it the prompt.
    return { refused: unreadableBody("it is not valid JSON") };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { refused: unreadableBody(`it is ${nameOf(value)} where a JSON object is needed; ${EXAMPLE}`) };
  }
  if (!Object.hasOwn(value, "model")) return { refused: missingModel(EXAMPLE) };
  const { model } = value as { readonly model: unknown };
  if (typeof model !== "string" || model === "") return { refused: modelNotAString(nameOf(model)) };
  return { model };
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

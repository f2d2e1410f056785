import { missingModel, modelNotAString, unreadableBody } from "../openai/errors.ts";
import { scanJson } from "./scan.ts";
import type { ModelInBody } from "./types.ts";

const EXAMPLE = 'write it as {"model": "NAME", …}';

/** Reads `model` of a JSON body. Where the key stands twice the last one counts, as it does for the engine. No refusal repeats the body. */
export function modelInJson(body: Buffer): ModelInBody {
  const found = scanJson(body, "model");
  switch (found.kind) {
    case "string":
      return found.value === "" ? { refused: modelNotAString("an empty string") } : { model: found.value };
    case "other":
      return { refused: modelNotAString(found.was) };
    case "missing":
      return { refused: missingModel(EXAMPLE) };
    case "notAnObject":
      return { refused: unreadableBody(`it is ${found.was} where a JSON object is needed; ${EXAMPLE}`) };
    case "notUtf8":
      return { refused: unreadableBody("it is not UTF-8") };
    case "invalid":
      return { refused: unreadableBody("it is not valid JSON") };
  }
}

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
    return { refused: unreadableBody("this path takes multipart/form-data with a boundary in its content-type") };
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
    if (part?.name === "model") {
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

function boundaryOf(contentType: string): string | undefined {
  const match = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i.exec(contentType);
  return match?.[1] ?? match?.[2];
}

/** Name of a part, and whether it is a file. Browsers and HTTP clients write quotes in names as `\"` or `%22`; no field that counts has any. */
function dispositionOf(headers: string): { readonly name: string; readonly isFile: boolean } | undefined {
  const line = headers.split(CRLF).find((h) => /^content-disposition\s*:/i.test(h));
  const name = /;\s*name=(?:"([^"]*)"|([^\s;"]+))/i.exec(line ?? "");
  if (line === undefined || name === null) return undefined;
  return { name: name[1] ?? name[2] ?? "", isFile: /;\s*filename\*?=/i.test(line) };
}

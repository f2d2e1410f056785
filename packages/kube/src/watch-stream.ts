import { KubeError } from "./errors.ts";

/** Objects are at most 1.5 MiB in etcd; what is far longer is no event. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * Splits a stream into lines, holding no more than one of them at a time.
 *
 * @throws {@link KubeError} `Garbage` for a line longer than `maxLineBytes`
 */
export async function* lines(stream: AsyncIterable<Uint8Array>, maxLineBytes: number = MAX_LINE_BYTES): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end));
      const line = Buffer.concat(parts).toString("utf8");
      parts = [];
      heldBytes = 0;
      start = end + 1;
      if (line !== "") yield line;
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      heldBytes += chunk.length - start;
      if (heldBytes > maxLineBytes)
        throw new KubeError(`watch: a line of more than ${maxLineBytes} bytes is no event`, { status: 0, reason: "Garbage" });
    }
  }
  // What is left without a newline was cut off in the middle: it is not an event.
}

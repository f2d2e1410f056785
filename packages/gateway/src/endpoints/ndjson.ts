/** Longest line that is read, in bytes: a snapshot of some ten thousand adapters. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/**
 * Splits a stream into lines and parses each as JSON; empty lines are skipped.
 *
 * @throws SyntaxError for a line that is not JSON, Error for one that is too long
 */
export async function* readNdjson(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      const line = Buffer.concat([...parts, rest.subarray(0, end)]).toString("utf8");
      if (line.trim() !== "") yield JSON.parse(line);
      parts = [];
      bytes = 0;
      rest = rest.subarray(end + 1);
    }
    if (rest.length === 0) continue;
    parts.push(rest);
    bytes += rest.length;
    if (bytes > MAX_LINE_BYTES) throw new Error(`a line is longer than ${MAX_LINE_BYTES} bytes`);
  }
}

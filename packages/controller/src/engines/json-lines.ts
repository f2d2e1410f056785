const NEWLINE = 0x0a;
/** A line of a sidecar is a snapshot at most: some hundred bytes for each adapter. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/**
 * Reads a stream of JSON values, one a line, holding no more than one of them.
 *
 * @throws Error for a line that is no JSON, or longer than {@link MAX_LINE_BYTES}
 */
export async function* jsonLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  let parts: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end));
      const text = Buffer.concat(parts).toString("utf8").trim();
      parts = [];
      heldBytes = 0;
      start = end + 1;
      if (text !== "") yield JSON.parse(text) as unknown;
    }
    parts.push(chunk.subarray(start));
    heldBytes += chunk.length - start;
    if (heldBytes > MAX_LINE_BYTES) throw new Error(`a line of more than ${MAX_LINE_BYTES} bytes`);
  }
}

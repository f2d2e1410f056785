/** Longer texts are encoded each time. */
const MAX_TEXT = 1_024;

/** A message with two places for a text. */
interface Template {
  readonly bytes: Buffer;
  readonly first: number;
  readonly second: number;
}

/**
 * Makes an encoder for messages that hold one text twice and are else always the same: for each length of the text the message is encoded
 * once, and then only copied.
 *
 * @param encode - encodes the message with a text; all texts are ASCII
 */
export function templated(encode: (text: string) => Buffer): (text: string) => Buffer {
  const templates = new Map<number, Template>();
  return (text) => {
    if (text.length > MAX_TEXT || text.length === 0) return encode(text);
    let template = templates.get(text.length);
    if (template === undefined) {
      template = templateOf(encode, text.length);
      templates.set(text.length, template);
    }
    const bytes = Buffer.allocUnsafe(template.bytes.length);
    bytes.set(template.bytes);
    bytes.write(text, template.first, "latin1");
    bytes.write(text, template.second, "latin1");
    return bytes;
  };
}

/** Where two messages with different texts differ is where the text stands. */
function templateOf(encode: (text: string) => Buffer, length: number): Template {
  const bytes = encode("a".repeat(length));
  const other = encode("b".repeat(length));
  const differs = (from: number): number => bytes.findIndex((byte, i) => i >= from && byte !== other[i]);
  const first = differs(0);
  const second = differs(first + length);
  if (first === -1 || second === -1 || differs(second + length) !== -1) throw new Error("the message does not hold its text twice");
  return { bytes, first, second };
}

/** Where a body names the model; the client puts an adapter's name of the same length there. */
export const MODEL_PLACEHOLDER = "adapter-00000";

const TEXT =
  'She said: "the route is closed" — and\nnobody asked why. {"model": "not-this-one"} C:\\temp, naïve façade, 模型, tabs\tand {braces}, [brackets]; ';

/**
 * A chat completion's body as openai-python writes it: the messages come first, then the model, then what else is set in the order of the API,
 * without spaces. The text has what a reader must not trip over: quotes, escapes, keys of the same name, other scripts.
 *
 * @param bytes - length of the body in UTF-8, reached to a few bytes
 */
export function chatBody(bytes: number, stream: boolean): string {
  const write = (content: string): string =>
    JSON.stringify({
      messages: [
        { role: "system", content: "You answer in one word." },
        { role: "user", content },
      ],
      model: MODEL_PLACEHOLDER,
      max_tokens: 64,
      ...(stream ? { stream: true } : {}),
      temperature: 0.2,
    });
  const room = bytes - Buffer.byteLength(write(""));
  const unit = Buffer.byteLength(JSON.stringify(TEXT)) - 2;
  const times = Math.max(0, Math.floor(room / unit));
  return write(TEXT.repeat(times) + "x".repeat(Math.max(0, room - times * unit)));
}

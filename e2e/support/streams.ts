import { expect } from "vitest";

const STREAM_MS = 300_000;
const LONG = { prompt: "San Francisco is a", temperature: 0, ignore_eos: true };

/** A completion that streams. */
export interface Streamed {
  /** The whole text; rejects where the stream breaks. */
  readonly text: () => Promise<string>;
}

/** Asks for a stream of so many tokens; returns once its head has come. */
export async function streamed(server: string, model: string, tokens = 300): Promise<Streamed> {
  const response = await fetch(`${server}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, ...LONG, max_tokens: tokens, stream: true }),
    signal: AbortSignal.timeout(STREAM_MS),
  });
  expect(response.status).toBe(200);
  const body = response.text();
  body.catch(() => undefined);
  return { text: async () => textOf(await body) };
}

/** @throws where the stream did not come to its end */
function textOf(events: string): string {
  const data = events.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
  if (data.at(-1) !== "[DONE]") throw new Error(`the stream ended without [DONE], after: ${data.at(-1)}`);
  return data
    .slice(0, -1)
    .map((json) => (JSON.parse(json) as { choices: readonly { text: string }[] }).choices[0]?.text ?? "")
    .join("");
}

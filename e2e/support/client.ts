import { type ParsedAnswer, parseAnswer } from "@aibrix/mock-engine";
import { expect } from "vitest";

const REQUEST_MS = 60_000;

export interface Answer {
  readonly status: number;
  /** The completion's text; empty for an error. */
  readonly text: string;
  readonly body: string;
}

/** Asks for a completion, greedily, as any OpenAI client does. */
export async function complete(server: string, model: string, key?: string, namespace?: string): Promise<Answer> {
  return post(server, JSON.stringify({ model, prompt: "San Francisco is a", max_tokens: 16, temperature: 0 }), key, namespace);
}

/** Sends a completion request of any body; `namespace` is whose model of the name is meant. */
export async function post(server: string, body: string, key?: string, namespace?: string): Promise<Answer> {
  const response = await fetch(`${server}/v1/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(namespace === undefined ? {} : { "model-namespace": namespace }),
    },
    body,
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  const answer = await response.text();
  const text = response.ok ? (JSON.parse(answer) as { choices: [{ text: string }] }).choices[0].text : "";
  return { status: response.status, text, body: answer };
}

/** Asks and expects an answer of the mock engine, which names model and weights. */
export async function ask(server: string, model: string, key?: string, namespace?: string): Promise<ParsedAnswer> {
  const { status, text, body } = await complete(server, model, key, namespace);
  expect(status, body).toBe(200);
  const parsed = parseAnswer(text);
  if (parsed === undefined) throw new Error(`not an answer of the mock engine: ${text}`);
  return parsed;
}

/** Names that the gateway lists. */
export async function models(gateway: string): Promise<readonly string[]> {
  const response = await fetch(`${gateway}/v1/models`, { signal: AbortSignal.timeout(REQUEST_MS) });
  return ((await response.json()) as { data: readonly { id: string }[] }).data.map((m) => m.id);
}

/** Message and code of an error in OpenAI's shape. */
export function errorOf({ body }: Answer): { readonly message: string; readonly code: string } {
  return (JSON.parse(body) as { error: { message: string; code: string } }).error;
}

import { adapterDigest, parseAnswer } from "@aibrix/mock-engine";
import { ENGINE } from "./cli.ts";
import type { ReferenceEngine } from "./reference.ts";

/** An answer that came to its end. */
export interface StreamAnswer {
  readonly startedMs: number;
  readonly text: string;
}

const REQUEST_MS = 300_000;

/** Clients that stream from one adapter, each one request after the other, until they are stopped. */
export class UpdateClients {
  /** Without the model. The prompt is long enough to fill blocks of an engine's prefix cache, which it keeps by the adapter's name and path. */
  static readonly body: Readonly<Record<string, unknown>> = {
    prompt: "The quick brown fox jumps over the lazy dog. ".repeat(30),
    max_tokens: 24,
    temperature: 0,
    ignore_eos: true,
  };

  readonly answers: StreamAnswer[] = [];
  readonly failures: string[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(gateway: string, model: string, count: number) {
    this.#ended = Promise.all(Array.from({ length: count }, () => this.#run(gateway, model)));
  }

  /** Every request that runs comes to its end. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #run(gateway: string, model: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const startedMs = performance.now();
      try {
        this.answers.push({ startedMs, text: await this.#ask(gateway, model) });
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }

  async #ask(gateway: string, model: string): Promise<string> {
    const response = await fetch(`${gateway}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model, ...UpdateClients.body, stream: true }),
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    const events = await response.text();
    if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${events}`);
    const data = events.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
    if (data.at(-1) !== "[DONE]") throw new Error(`the stream ended without [DONE]: ${events.slice(-300)}`);
    return data
      .slice(0, -1)
      .map((json) => (JSON.parse(json) as { choices: readonly { text: string }[] }).choices[0]?.text ?? "")
      .join("");
  }
}

/** What an answer shows of the content that gave it: the whole text of a real engine, the weights that the mock names. */
export function contentOf(text: string): string {
  if (ENGINE === "vllm") return text;
  const parsed = parseAnswer(text);
  return parsed?.consistent === true ? (parsed.digest ?? "the base model") : `not of one content: ${text}`;
}

/** What {@link contentOf} gives for the clients' answers of one adapter. @param reference - of a real engine, to have it answer with this adapter alone */
export async function contentIn(dir: string, reference: ReferenceEngine | undefined): Promise<string> {
  return reference === undefined ? await adapterDigest(dir) : await reference.answerOf(dir, UpdateClients.body);
}

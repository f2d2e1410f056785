import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { expect, vi } from "vitest";
import { READY_MS } from "./platform.ts";
import { streamed } from "./streams.ts";

const REQUEST_MS = 60_000;
/** Leaves the machine time for the pods. */
const PAUSE_MS = 20;

/** Clients that ask a model again and again: some keep their connection, some make one for every request, and some read streams. */
export class Load {
  /** What was not answered as it should, with the time since the beginning. */
  readonly failed: string[] = [];
  answered = 0;
  readonly #gateway: string;
  readonly #model: string;
  readonly #startMs = performance.now();
  readonly #stop = new AbortController();
  readonly #clients: Promise<unknown>;

  constructor(gateway: string, model: string, { kept = 4, fresh = 2, streams = 2 } = {}) {
    this.#gateway = gateway;
    this.#model = model;
    const each = (count: number, once: () => () => Promise<void>) => Array.from({ length: count }, () => this.#again(once()));
    this.#clients = Promise.all([
      ...each(kept, () => this.#asks(new Agent({ keepAlive: true, maxSockets: 1 }))),
      ...each(fresh, () => this.#asks(new Agent({ keepAlive: false }))),
      ...each(streams, () => async () => void (await (await streamed(this.#gateway, this.#model)).text())),
    ]);
  }

  /** Milliseconds since the beginning. */
  get nowMs(): number {
    return Math.round(performance.now() - this.#startMs);
  }

  /** Waits until it was answered for some time since now, and fails where anything was not. */
  async goesOn(): Promise<void> {
    const then = this.answered;
    await vi.waitFor(() => expect(this.answered).toBeGreaterThan(then + 100), { timeout: READY_MS, interval: 50 });
    expect(this.failed).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#clients;
  }

  async #again(once: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const beganMs = this.nowMs;
      try {
        await once();
        this.answered += 1;
      } catch (error) {
        this.failed.push(`${beganMs} to ${this.nowMs} ms: ${error instanceof Error ? error.message : String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  #asks(agent: Agent): () => Promise<void> {
    const body = JSON.stringify({ model: this.#model, prompt: "San Francisco is a", max_tokens: 4, temperature: 0 });
    const headers = { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) };
    return async () => {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const signal = AbortSignal.timeout(REQUEST_MS);
        request(`${this.#gateway}/v1/completions`, { method: "POST", agent, headers, signal }, resolve).once("error", reject).end(body);
      });
      const answer = await text(response);
      const { model } = response.statusCode === 200 ? (JSON.parse(answer) as { model: string }) : { model: undefined };
      if (model !== this.#model) throw new Error(`${response.statusCode} ${answer}`);
    };
  }
}

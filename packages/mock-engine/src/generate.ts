import { delay, type Engine, type LoadedAdapter } from "./engine.ts";
import { EngineDeadError } from "./errors.ts";
import type { FinishReason } from "./metrics.ts";
import { MIXED, tokenText } from "./text.ts";

/** Tokens that are made in one go when nothing slows them down; then others get a turn. */
const BURST_TOKENS = 256;

/** One request for text, checked and counted. */
export interface Job {
  /** Undefined: the base model. */
  readonly adapter: LoadedAdapter | undefined;
  /** The text whose first block the prefix cache remembers. */
  readonly prompt: string;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** How it ends once all tokens are made. */
  readonly finish: "stop" | "length";
}

/** Takes one token. A promise is waited for: that is how a slow reader slows the engine. */
export type Emit = (index: number, text: string) => Promise<void> | void;

/** The client went away. */
export class ClientGoneError extends Error {
  override readonly name = "ClientGoneError";
}

async function digestFor(engine: Engine, job: Job): Promise<string | undefined> {
  if (job.adapter === undefined) return undefined;
  const found = engine.weights(job.adapter);
  const { digest } = found instanceof Promise ? await found : found;
  return engine.prefixCache.isStale(job.adapter.name, job.adapter.path, job.prompt, job.promptTokens, digest) ? MIXED : digest;
}

/**
 * Waits for a place, then makes the tokens of a request, looking at every one whether the weights are still in memory
 * and what they are now, as an engine does at every step.
 * @throws EngineDeadError if the engine dies meanwhile, ClientGoneError if the signal aborts with it
 */
export async function generate(engine: Engine, job: Job, controller: AbortController, emit: Emit): Promise<void> {
  const { signal } = controller;
  const { adapter } = job;
  const wait = engine.scheduler.acquire(adapter, signal);
  if (wait !== undefined) await wait;
  try {
    const name = adapter?.name ?? engine.baseName;
    const first = await digestFor(engine, job);
    for (let index = 0; index < job.maxTokens; index++) {
      if (engine.settings.tokenDelayMs > 0) await delay(engine.settings.tokenDelayMs, signal);
      else if (index % BURST_TOKENS === BURST_TOKENS - 1) await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) throw signal.reason;
      const found = adapter === undefined ? undefined : engine.weights(adapter);
      const now = found instanceof Promise ? await found : found;
      const emitted = emit(index, tokenText(index, name, first === MIXED ? MIXED : now?.digest));
      if (emitted !== undefined) await emitted;
    }
  } finally {
    engine.scheduler.release(adapter);
  }
}

/** How a request that ended with this error counts. */
export function reasonOf(error: unknown): FinishReason {
  return error instanceof EngineDeadError ? "error" : "abort";
}

import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { type AdapterStatus, RUNTIME_PATHS, type Snapshot } from "@aibrix/api";
import { look, type Taken } from "./measured.ts";
import { type Server, startRuntime } from "./servers.ts";

const LOOK_MS = 10;
const TIMEOUT_MS = 300_000;

/** What the runtime is asked to bring. */
export interface Asked {
  readonly url: string;
  /** A small adapter of the same server. */
  readonly warmUrl: string;
  readonly credentials?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Brings an artifact here with a runtime that has nothing yet: from the call until its digest is told, so with listing, hashes and checks.
 * The process's start, and that of the storage's client with the first adapter, count for its memory alone.
 */
export async function runtimeBrings({ url, warmUrl, credentials = {}, env }: Asked, engine: Server, dir: string): Promise<Taken> {
  const runtime = await startRuntime(dir, engine.url, env);
  try {
    await post(runtime, RUNTIME_PATHS.load, { lora_name: "small", artifact_url: warmUrl, credentials });
    await untilHere(runtime, "small", AbortSignal.timeout(TIMEOUT_MS));
    const before = look(runtime.pid);
    const startMs = performance.now();
    await post(runtime, RUNTIME_PATHS.load, { lora_name: "big", artifact_url: url, credentials });
    await untilHere(runtime, "big", AbortSignal.timeout(TIMEOUT_MS));
    const seconds = (performance.now() - startMs) / 1000;
    const after = look(runtime.pid);
    return { seconds, cpuSeconds: (after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0), peakBytes: after?.peakBytes ?? 0 };
  } finally {
    await runtime.close();
  }
}

async function untilHere(runtime: Server, name: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { adapters } = (await (await fetch(runtime.url + RUNTIME_PATHS.adapters, { signal })).json()) as Snapshot;
    const adapter: AdapterStatus | undefined = adapters.find((a) => a.lora_name === name);
    if (adapter?.content_digest !== undefined) return;
    if (adapter?.state === "Failed") throw new Error(`the runtime failed: ${adapter.message}`);
    await setTimeoutPromise(LOOK_MS, undefined, { signal });
  }
}

export async function post(server: Server, path: string, body: object): Promise<void> {
  const answer = await fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} answered HTTP ${answer.status}: ${text}`);
}

import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { RUNTIME_PATHS, type WatchEvent } from "@aibrix/api";
import { writeAdapter } from "@aibrix/devcluster";
import { post } from "./ours.ts";
import { type Server, startRuntime } from "./servers.ts";

const TIMEOUT_MS = 120_000;

/** Times of loads, in milliseconds. */
export interface LoadTimes {
  /** Of the engine's own call. */
  readonly engineMs: readonly number[];
  /** From the call to the runtime until it tells that the adapter is served, without a request to the engine in between. */
  readonly runtimeMs: readonly number[];
  /** The same, where the engine has to answer a request of one token first. */
  readonly probedMs: readonly number[];
}

/** Loads small adapters that are on this machine, by turns straight into the engine, and through a runtime without and with its probe. */
export async function measureLoads(engine: Server, dir: string, count: number): Promise<LoadTimes> {
  const runtime = await startRuntime(join(dir, "artifacts"), engine.url);
  const stop = new AbortController();
  try {
    const told = await watch(runtime, AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT_MS)]));
    const engineMs: number[] = [];
    const runtimeMs: number[] = [];
    const probedMs: number[] = [];
    // The first of each warms up.
    for (let i = 0; i <= count; i += 1) {
      const path = join(dir, `adapter-${i}`);
      await writeAdapter(path, { seed: i + 1 });
      let startMs = performance.now();
      await post(engine, "/v1/load_lora_adapter", { lora_name: "direct", lora_path: path });
      if (i > 0) engineMs.push(performance.now() - startMs);
      await post(engine, "/v1/unload_lora_adapter", { lora_name: "direct" });
      for (const probe of ["off", "auto"] as const) {
        const name = `bench-${probe}-${i}`;
        const served = told(name, (s) => s === "Serving");
        startMs = performance.now();
        await post(runtime, RUNTIME_PATHS.load, { lora_name: name, artifact_url: path, probe });
        await served;
        if (i > 0) (probe === "off" ? runtimeMs : probedMs).push(performance.now() - startMs);
        const gone = told(name, (s) => s === "gone");
        await post(runtime, RUNTIME_PATHS.unload, { lora_name: name });
        await gone;
      }
    }
    return { engineMs, runtimeMs, probedMs };
  } finally {
    stop.abort();
    await runtime.close();
  }
}

type Wait = (name: string, isIt: (state: string) => boolean) => Promise<void>;

/** Follows what the runtime tells. */
async function watch(runtime: Server, signal: AbortSignal): Promise<Wait> {
  const waiting = new Map<string, { readonly isIt: (state: string) => boolean; readonly done: PromiseWithResolvers<void> }>();
  const answer = await fetch(`${runtime.url}${RUNTIME_PATHS.adapters}?watch=true`, { signal });
  const tell = (name: string, state: string, message = "") => {
    const wait = waiting.get(name);
    if (wait?.isIt(state)) wait.done.resolve();
    else if (state === "Failed") wait?.done.reject(new Error(`${name} failed: ${message}`));
  };
  const lines = createInterface({ input: Readable.fromWeb(answer.body as never).on("error", () => undefined) });
  // It ends with the signal, which is an error of its stream; whoever waits is told by the signal.
  lines.on("error", () => undefined);
  lines.on("line", (line) => {
    const event = JSON.parse(line) as WatchEvent;
    if (event.type === "ADAPTER") tell(event.object.lora_name, event.object.state, event.object.message);
    if (event.type === "DELETED") tell(event.lora_name, "gone");
  });
  signal.addEventListener("abort", () => {
    for (const { done } of waiting.values()) done.reject(signal.reason);
  });
  return async (name, isIt) => {
    const done = Promise.withResolvers<void>();
    waiting.set(name, { isIt, done });
    await done.promise;
    waiting.delete(name);
  };
}

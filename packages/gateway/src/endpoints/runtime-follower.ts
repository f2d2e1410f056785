import {
  type AdapterStatus,
  AdapterStatusSchema,
  BOOKMARK_PERIOD_MS,
  EngineStatusSchema,
  RUNTIME_PATHS,
  type Snapshot,
  SnapshotSchema,
  type WatchEvent,
} from "@aibrix/api";
import { deadline, sleep } from "@aibrix/service";
import { Value } from "typebox/value";
import { Agent, request } from "undici";
import type { EngineChange } from "../routing/types.ts";
import { readNdjson } from "./ndjson.ts";
import { nowSec, resolveAddress, type SourceDeps } from "./source.ts";
import { adapterModel, baseNames, isLeaving, stateOfSnapshot } from "./states.ts";

/** A reader gives up after this many bookmarks that did not come. */
const MISSED_BOOKMARKS = 3;
export const SILENCE_MS: number = MISSED_BOOKMARKS * BOOKMARK_PERIOD_MS;

/** What is known of one runtime; turns its events into changes of the routes. */
class Mirror {
  #snapshot: Snapshot | undefined;
  readonly #adapters = new Map<string, AdapterStatus>();
  readonly #configured: readonly string[];

  constructor(configured: readonly string[]) {
    this.#configured = configured;
  }

  /** @throws Error for an event that does not fit: the stream is then begun anew */
  take(event: WatchEvent, address: string): EngineChange | undefined {
    if (event.type === "SNAPSHOT") {
      requireForm(Value.Check(SnapshotSchema, event.object), event.type);
      this.#snapshot = event.object;
      this.#adapters.clear();
      for (const adapter of event.object.adapters) this.#adapters.set(adapter.lora_name, adapter);
      return { type: "state", state: stateOfSnapshot(event.object, address, this.#configured, nowSec()) };
    }
    const snapshot = this.#snapshot;
    if (snapshot === undefined) throw new Error("its stream does not begin with a snapshot");
    switch (event.type) {
      case "ADAPTER": {
        requireForm(Value.Check(AdapterStatusSchema, event.object), event.type);
        const [parent] = baseNames(snapshot.engine.base_models, this.#configured);
        this.#adapters.set(event.object.lora_name, event.object);
        if (isLeaving(event.object)) return { type: "withdrawn", id: event.object.lora_name };
        return { type: "model", model: adapterModel(event.object, parent, nowSec()) };
      }
      case "DELETED":
        this.#adapters.delete(event.lora_name);
        return { type: "withdrawn", id: event.lora_name };
      case "ENGINE": {
        requireForm(Value.Check(EngineStatusSchema, event.object), event.type);
        const next = { ...snapshot, engine: event.object, adapters: [...this.#adapters.values()] };
        this.#snapshot = next;
        return { type: "state", state: stateOfSnapshot(next, address, this.#configured, nowSec()) };
      }
      default:
        return undefined; // Bookmarks, manifests, and what later versions add.
    }
  }
}

function requireForm(fits: boolean, type: string): void {
  if (!fits) throw new Error(`its ${type} is not of the form that this version reads: run the same version of both`);
}

/**
 * Follows a runtime's stream until the signal aborts. It connects again after every end, with growing pauses; what the runtime said last
 * stays in force for a grace time, then its engine counts as not ready.
 */
export async function followRuntime(runtime: string, deps: SourceDeps, signal: AbortSignal): Promise<void> {
  const { endpoint, sink, log, timings } = deps;
  const [firstPauseMs, longestPauseMs] = timings.backoffMs;
  const agent = new Agent({ connect: { timeout: timings.callTimeoutMs } });
  let pauseMs = firstPauseMs;
  let grace: NodeJS.Timeout | undefined;
  let lastProblem: string | undefined;
  const onSnapshot = (): void => {
    clearTimeout(grace);
    grace = undefined;
    pauseMs = firstPauseMs;
    lastProblem = undefined;
    deps.onTried();
  };
  try {
    while (!signal.aborted) {
      const problem = await followOnce(runtime, agent, deps, onSnapshot, signal).then(
        () => "it ended the stream",
        (error: unknown) => describe(error),
      );
      if (signal.aborted) return;
      if (problem !== lastProblem) log.warn({ engine: endpoint.engine, runtime, problem }, "a runtime cannot be followed: trying again");
      lastProblem = problem;
      deps.onTried();
      grace ??= setTimeout(() => {
        log.warn(
          { engine: endpoint.engine, runtime, graceMs: timings.graceMs },
          "a runtime is not heard any more: its engine takes no requests",
        );
        sink.update(endpoint.engine, { type: "notReady", why: "the runtime beside its engine does not answer" });
      }, timings.graceMs);
      await sleep(pauseMs * (0.5 + Math.random()), signal);
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  } finally {
    clearTimeout(grace);
    await agent.destroy();
  }
}

async function followOnce(runtime: string, agent: Agent, deps: SourceDeps, onSnapshot: () => void, signal: AbortSignal): Promise<void> {
  const { endpoint, sink, timings } = deps;
  const address = await resolveAddress(endpoint.host, endpoint.port);
  const { statusCode, body } = await request(`${runtime}${RUNTIME_PATHS.adapters}?watch=true`, {
    dispatcher: agent,
    signal,
    headersTimeout: timings.silenceMs,
    bodyTimeout: timings.silenceMs,
  });
  if (statusCode !== 200) {
    await body.dump({ limit: 65_536, signal: deadline(timings.callTimeoutMs, signal) }).catch(() => undefined);
    throw new Error(`it answered ${statusCode}: is this the address of an aibrix_runtime?`);
  }
  const mirror = new Mirror(endpoint.models);
  for await (const event of readNdjson(body)) {
    const change = mirror.take(event as WatchEvent, address);
    if (change !== undefined) sink.update(endpoint.engine, change);
    if ((event as WatchEvent).type === "SNAPSHOT") onSnapshot();
  }
}

/** What went wrong, short; undici puts the cause of a failed connection into codes. */
function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "UND_ERR_BODY_TIMEOUT") return "it said nothing for too long";
  return message === "" || message === undefined ? (code ?? "unknown error") : message;
}

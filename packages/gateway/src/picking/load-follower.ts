import { type Logger, sleep } from "@aibrix/service";
import { Agent } from "undici";
import type { Loads } from "./loads.ts";
import { requestsIn } from "./metrics-page.ts";

/** How long an engine may take to answer, in milliseconds. */
const TIMEOUT_MS = 2_000;

/** Engines that are asked at once. */
const CONCURRENCY = 16;

/** A page larger than this is not read, in bytes. vLLM's has some 100 KB. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/** The whole page. */
const PAGE = "/metrics";

/**
 * The two gauges alone: a hundredth of the bytes, for us and for the engine to write. By the slash at the end it is prometheus_client that answers in
 * vLLM, which takes names; at `/metrics` it is a route before it, which does not (vllm/entrypoints/serve/instrumentator/metrics.py). With several API
 * servers (`--api-server-count`) nothing is found by names.
 */
const GAUGES = `/metrics/?${new URLSearchParams(["running", "waiting"].map((what): [string, string] => ["name[]", `vllm:num_requests_${what}`]))}`;

/** What following takes from outside. */
export interface LoadFollowerDeps {
  readonly loads: Loads;
  /** Addresses (`ip:port`) of the engines that take requests. */
  readonly addresses: () => Iterable<string>;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly log: Logger;
  /** Pause between two rounds, in milliseconds. */
  readonly periodMs: number;
}

/**
 * Asks every engine again and again for the requests that it has (`GET /metrics`), until the signal aborts: in each round those of which a
 * choice was made since they were asked last, the others now and then. An engine that does not say only counts by what was sent to it, and one
 * that does not answer keeps no other from being asked in the next round.
 */
export async function followLoads(deps: LoadFollowerDeps, signal: AbortSignal): Promise<void> {
  const agent = new Agent({ connect: { timeout: TIMEOUT_MS }, maxResponseSize: MAX_PAGE_BYTES });
  const stop = (): void => void agent.destroy();
  signal.addEventListener("abort", stop);
  const asking = new Set<string>();
  /** Engines that tell nothing by name, and something on the whole page. */
  const whole = new Set<string>();
  const workers = new Set<Promise<void>>();
  let round: Iterator<string> = [].values();
  const work = async (): Promise<void> => {
    for (let next = round.next(); next.done !== true && !signal.aborted; next = round.next()) {
      const address = next.value;
      if (asking.has(address) || !deps.loads.isDue(address, deps.now())) continue;
      asking.add(address);
      try {
        await ask(agent, address, whole, deps);
      } catch (error) {
        if (!signal.aborted) deps.log.debug({ engine: address, problem: (error as Error).message }, "an engine's load is not known");
      } finally {
        asking.delete(address);
      }
    }
  };
  try {
    while (!signal.aborted) {
      const addresses = new Set(deps.addresses());
      for (const address of whole) if (!addresses.has(address)) whole.delete(address);
      round = addresses.values();
      while (workers.size < CONCURRENCY) {
        const worker = work();
        workers.add(worker);
        void worker.finally(() => workers.delete(worker));
      }
      await sleep(deps.periodMs, signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    await agent.destroy();
    await Promise.all(workers);
  }
}

async function ask(agent: Agent, address: string, whole: Set<string>, { loads, now }: LoadFollowerDeps): Promise<void> {
  loads.onAsked(address, now());
  const byName = whole.has(address) ? undefined : await metricsPage(agent, address, GAUGES);
  let requests = byName?.page === undefined ? undefined : requestsIn(byName.page);
  if (requests === undefined) {
    const { page } = await metricsPage(agent, address, PAGE);
    requests = page === undefined ? undefined : requestsIn(page);
    // An error may pass.
    if (requests !== undefined && (byName?.status === 200 || byName?.status === 404)) whole.add(address);
  }
  if (requests !== undefined) loads.onReported(address, requests, now());
}

/**
 * Reads an engine's metrics; there are none where it answers with an error. By undici's innermost call, without streams and signals: many
 * engines are asked every second, beside the requests.
 */
async function metricsPage(agent: Agent, address: string, path: string): Promise<{ readonly status: number; readonly page?: Buffer }> {
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    let timer: NodeJS.Timeout | undefined;
    agent.dispatch(
      { origin: `http://${address}`, path, method: "GET" },
      {
        onRequestStart: (controller) => {
          clearTimeout(timer); // It may start again on a new connection.
          timer = setTimeout(() => controller.abort(new Error(`it has not answered within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
        },
        onResponseStart: (_, statusCode) => {
          status = statusCode;
        },
        onResponseData: (_, chunk) => {
          chunks.push(chunk);
        },
        onResponseEnd: () => {
          clearTimeout(timer);
          resolve(status === 200 ? { status, page: Buffer.concat(chunks) } : { status });
        },
        onResponseError: (_, error) => {
          clearTimeout(timer);
          reject(error);
        },
      },
    );
  });
}

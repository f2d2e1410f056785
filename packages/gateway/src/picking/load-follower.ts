import { type Logger, sleep } from "@aibrix/service";
import type { Loads } from "./loads.ts";
import { requestsIn } from "./metrics-page.ts";
import { PageClient } from "./page-client.ts";

/** How long an engine may take to answer, in milliseconds. */
const TIMEOUT_MS = 2_000;

/** Engines that are asked at once. */
const CONCURRENCY = 16;

/** A page larger than this is not read, in bytes. vLLM's has some 100 KB. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

const PAGE = { path: "/metrics", timeoutMs: TIMEOUT_MS, maxBytes: MAX_PAGE_BYTES };

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
 * choice was made since they were asked last, the others now and then. An engine that does not say only counts by what was sent to it.
 */
export async function followLoads(deps: LoadFollowerDeps, signal: AbortSignal): Promise<void> {
  const clients = new Map<string, PageClient>();
  const stop = (): void => {
    for (const client of clients.values()) client.close();
  };
  signal.addEventListener("abort", stop);
  try {
    while (!signal.aborted) {
      const addresses = new Set(deps.addresses());
      for (const [address, client] of clients) {
        if (addresses.has(address)) continue;
        client.close();
        clients.delete(address);
      }
      const rest = addresses.values();
      await Promise.all(Array.from({ length: CONCURRENCY }, () => askEach(clients, rest, deps, signal)));
      await sleep(deps.periodMs, signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

async function askEach(
  clients: Map<string, PageClient>,
  addresses: Iterator<string>,
  { loads, now, log }: LoadFollowerDeps,
  signal: AbortSignal,
): Promise<void> {
  for (let next = addresses.next(); next.done !== true && !signal.aborted; next = addresses.next()) {
    const address = next.value;
    if (!loads.isDue(address, now())) continue;
    const client = clients.get(address) ?? new PageClient(address, PAGE);
    clients.set(address, client);
    loads.onAsked(address, now());
    try {
      const requests = await client.get(({ status, body }) => (status === 200 ? requestsIn(body) : undefined));
      if (requests !== undefined) loads.onReported(address, requests, now());
    } catch (error) {
      if (!signal.aborted) log.debug({ engine: address, problem: (error as Error).message }, "an engine's load is not known");
    }
  }
}

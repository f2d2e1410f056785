import { setTimeout as delay } from "node:timers/promises";
import type { PartContext } from "@aibrix/devcluster";
import { variantOf } from "./compare.ts";
import { median, percentile } from "./histogram.ts";
import type { Loaded, Placement } from "./loader.ts";
import { cpuUs } from "./processes.ts";
import { Stage, type Subject } from "./stage.ts";
import { LIMIT } from "./variants.ts";

export interface ArrivalsOptions extends Placement {
  readonly variants: readonly string[];
  /** How many adapters arrive. */
  readonly arriving: number;
  /** Requests per second meanwhile. */
  readonly rate: number;
  /** For how long requests flow, and adapters arrive. */
  readonly seconds: number;
  readonly rounds: number;
}

/** Latencies of one kind of turn, medians of the rounds. */
export interface Quiet {
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU time of the ext_proc server, in percent of a core. */
  readonly cpuPercent: number;
  readonly failures: number;
}

/** What adapters that arrive did to requests. */
export interface Arrivals {
  readonly variant: string;
  readonly limit: Quiet;
  readonly quiet: Quiet;
  readonly arriving: Quiet;
  /** Above Envoy without ext_proc at the same rate. */
  readonly addedP99Us: { readonly quiet: number; readonly arriving: number };
  readonly ratio: number;
}

/** Connections, so that a slow answer holds nobody up. */
const CONNECTIONS = 256;
const TICK_MS = 20;
/** The first seconds of a turn compile, connect and warm. */
const WARM_UP_SECONDS = 3;
const SEEN_MS = 120_000;

/** Lets requests flow at a steady rate, without ext_proc, with it, and with it while adapters arrive, in turn. */
export async function arrivals(options: ArrivalsOptions, context: PartContext): Promise<readonly Arrivals[]> {
  await using stage = await Stage.start({ ...options, envoyThreads: 2 }, context);
  const limit = await stage.startVariant(LIMIT, variantOf(LIMIT));
  const all: Arrivals[] = [];
  for (const name of options.variants) {
    const subject = await stage.startVariant(name, variantOf(name));
    const turns: Record<"limit" | "quiet" | "arriving", Quiet[]> = { limit: [], quiet: [], arriving: [] };
    await turn(stage, subject, { ...options, seconds: WARM_UP_SECONDS }, true);
    for (let round = 0; round < options.rounds; round += 1) {
      context.log(`${name}: round ${round + 1} of ${options.rounds}`);
      turns.limit.push(await turn(stage, limit, options, false));
      turns.quiet.push(await turn(stage, subject, options, true));
      const stop = new AbortController();
      const arrive = arriving(stage, options, AbortSignal.any([stop.signal, context.signal]));
      try {
        turns.arriving.push(await turn(stage, subject, options, true));
        await arrive;
      } finally {
        stop.abort();
        await arrive.catch(() => undefined);
      }
      await seen(subject, options.adapters + options.arriving, context.signal);
      for (let i = 0; i < options.arriving; i += 1) stage.remove(options.adapters + i);
      await seen(subject, options.adapters, context.signal);
    }
    all.push(report(name, turns.limit, turns.quiet, turns.arriving));
  }
  return all;
}

async function turn(stage: Stage, subject: Subject, { rate, seconds }: ArrivalsOptions, checkEngine: boolean): Promise<Quiet> {
  const pid = subject.server?.pid;
  const used = (): number => (pid === undefined ? 0 : cpuUs(pid));
  const before = used();
  const load = { to: subject.to[0] ?? "", body: await stage.body(1, false), concurrency: CONNECTIONS, rate, seconds, checkEngine };
  const loaded: Loaded = await stage.load(load);
  return {
    p50Us: percentile(loaded.latencies, 50),
    p99Us: percentile(loaded.latencies, 99),
    cpuPercent: (used() - before) / loaded.seconds / 10_000,
    failures: Object.values(loaded.failures).reduce((sum, n) => sum + n, 0),
  };
}

/** Adapters arrive evenly over the time. */
async function arriving(stage: Stage, { adapters, arriving: count, seconds }: ArrivalsOptions, signal: AbortSignal): Promise<void> {
  const startMs = performance.now();
  let arrived = 0;
  while (arrived < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - startMs) / (seconds * 1000)) * count));
    for (; arrived < due; arrived += 1) stage.add(adapters + arrived);
    await delay(TICK_MS, undefined, { signal });
  }
}

/** Waits until the gateway knows so many adapters, besides the base model. */
async function seen(subject: Subject, adapters: number, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + SEEN_MS;
  for (;;) {
    const models = await subject.models();
    if (models === adapters + 1) return;
    if (performance.now() > endMs) throw new Error(`the gateway knows ${models} models instead of ${adapters + 1}`);
    await delay(TICK_MS, undefined, { signal });
  }
}

function report(variant: string, limit: readonly Quiet[], quiet: readonly Quiet[], arriving: readonly Quiet[]): Arrivals {
  const added = (turns: readonly Quiet[]): number => median(turns.map((t, i) => t.p99Us - (limit[i]?.p99Us ?? Number.NaN)));
  const addedP99Us = { quiet: added(quiet), arriving: added(arriving) };
  return {
    variant,
    limit: medians(limit),
    quiet: medians(quiet),
    arriving: medians(arriving),
    addedP99Us,
    ratio: addedP99Us.arriving / addedP99Us.quiet,
  };
}

function medians(turns: readonly Quiet[]): Quiet {
  const of = (read: (q: Quiet) => number): number => median(turns.map(read));
  return {
    p50Us: of((q) => q.p50Us),
    p99Us: of((q) => q.p99Us),
    cpuPercent: of((q) => q.cpuPercent),
    failures: turns.reduce((sum, q) => sum + q.failures, 0),
  };
}

/** The same in words. */
export function arrivalsText({ variant, limit, quiet, arriving, addedP99Us, ratio }: Arrivals): string {
  const line = (what: string, q: Quiet): string =>
    `  ${what.padEnd(24)} p50 ${Math.round(q.p50Us)} µs, p99 ${Math.round(q.p99Us)} µs, ${q.cpuPercent.toFixed(1)} % of a core, ${q.failures} failed\n`;
  return [
    `arrivals with ${variant}\n`,
    line("without ext_proc", limit),
    line("quiet", quiet),
    line("while adapters arrive", arriving),
    `  added p99 ${Math.round(addedP99Us.quiet)} µs quiet, ${Math.round(addedP99Us.arriving)} µs while adapters arrive: ${ratio.toFixed(2)}x\n`,
  ].join("");
}

import { setTimeout as delay } from "node:timers/promises";
import type { PartContext } from "@aibrix/devcluster";
import { type Cell, type CellFigures, cellFigures, type Sample, withPlain } from "./figures.ts";
import { percentile } from "./histogram.ts";
import type { Placement } from "./loader.ts";
import { cpuUs, readCalls } from "./processes.ts";
import { Stage, type Subject } from "./stage.ts";
import { cellName } from "./table.ts";
import { LIMIT, PEER, VARIANTS } from "./variants.ts";

/** How much is measured. */
export interface CompareOptions extends Placement {
  readonly variants: readonly string[];
  readonly cells: readonly Cell[];
  readonly rounds: number;
  /** Of one turn. */
  readonly seconds: number;
  readonly envoyThreads: number;
}

/**
 * Warm-up before the first round, of each variant with each size of body: what is compiled at run time is compiled then. That takes some ten
 * thousand requests, which on a busy machine take longer than turns do.
 */
const WARM_UP_TURNS = 4;
const WARM_UP_CONCURRENCY = 32;
/** How long a server is looked at without requests: it asks the engines for their load, which weighs more the fewer requests there are. */
const IDLE_MS = 5_000;

/** Every variant in turn in every cell, round after round, beginning with another one each time, so that what else runs here disturbs all alike. */
export async function compare(options: CompareOptions, context: PartContext): Promise<readonly CellFigures[]> {
  const { variants, cells, rounds, seconds } = options;
  const { log, signal } = context;
  await using stage = await Stage.start(options, context);
  const subjects = new Map<string, Subject>();
  for (const name of variants) subjects.set(name, await stage.startVariant(name, variantOf(name)));
  for (const [name, subject] of subjects)
    for (const kib of new Set(cells.map((c) => c.kib))) {
      log(`warming up ${name}, ${kib} KB`);
      const cell = { kib, concurrency: WARM_UP_CONCURRENCY, stream: false };
      await turn(stage, subject, cell, WARM_UP_TURNS * seconds, VARIANTS[name]?.server.kind === "gateway");
    }
  for (const [name, { server }] of subjects) {
    if (server === undefined) continue;
    const beforeUs = cpuUs(server.pid);
    await delay(IDLE_MS, undefined, { signal });
    log(`${name} without requests: ${((cpuUs(server.pid) - beforeUs) / IDLE_MS).toFixed(1)} ms of CPU a second`);
  }
  const taken = cells.map((cell) => ({ cell, samples: new Map(variants.map((name): [string, Sample[]] => [name, []])) }));
  /** Of the round, by variant and kind: how many event streams went through in a second. */
  const streamed = new Map<string, number>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, { cell, samples }] of taken.entries()) {
      log(`round ${round + 1} of ${rounds}, ${i + 1} of ${cells.length}: ${cellName(cell)}`);
      for (let t = 0; t < variants.length; t += 1) {
        signal.throwIfAborted();
        const name = variants[(round + i + t) % variants.length] ?? "";
        const subject = subjects.get(name);
        if (subject === undefined) continue;
        const key = `${name} ${cell.kib} ${cell.concurrency}`;
        const rate = cell.paced === true ? streamed.get(key) : undefined;
        if (cell.paced === true && rate === undefined) throw new Error(`${cellName(cell)}: no event streams went before`);
        const { sample, failures } = await turn(stage, subject, cell, seconds, variantOf(name).server.kind === "gateway", rate);
        if (sample.failures > 0) log(`  ${name}: ${JSON.stringify(failures)}`);
        if (cell.stream) streamed.set(key, Math.max(1, Math.round(sample.requestsPerSecond)));
        samples.get(name)?.push(sample);
      }
    }
  }
  return withPlain(taken.map(({ cell, samples }) => cellFigures(cell, samples, LIMIT, PEER)));
}

/** @throws Error for a name that no variant has */
export function variantOf(name: string): (typeof VARIANTS)[string] {
  const variant = Object.hasOwn(VARIANTS, name) ? VARIANTS[name] : undefined;
  if (variant === undefined) throw new Error(`${name}: write one of ${Object.keys(VARIANTS).join(", ")}`);
  return variant;
}

interface Turn {
  readonly sample: Sample;
  readonly failures: Readonly<Record<string, number>>;
}

/** @param rate - requests per second; as many as can be where it is absent */
async function turn(stage: Stage, subject: Subject, cell: Cell, seconds: number, checkEngine: boolean, rate?: number): Promise<Turn> {
  const { kib, concurrency, stream } = cell;
  const body = await stage.body(kib, stream);
  const [envoy] = subject.envoys;
  const pid = subject.server?.pid;
  const used = (): number[] => [
    ...[pid, envoy?.pid].map((each) => (each === undefined ? 0 : cpuUs(each))),
    pid === undefined ? 0 : readCalls(pid),
  ];
  const [serverBefore = 0, envoyBefore = 0, readsBefore = 0] = used();
  const loaded = await stage.load({
    to: subject.to[0] ?? "",
    body,
    concurrency,
    stream,
    seconds,
    checkEngine,
    ...(rate === undefined ? {} : { rate }),
  });
  const [serverAfter = 0, envoyAfter = 0, readsAfter = 0] = used();
  const { requests, failures, latencies } = loaded;
  const sample: Sample = {
    requests,
    failures: Object.values(failures).reduce((sum, n) => sum + n, 0),
    requestsPerSecond: requests / loaded.seconds,
    p50Us: percentile(latencies, 50),
    p99Us: percentile(latencies, 99),
    cpuUs: pid === undefined ? undefined : (serverAfter - serverBefore) / requests,
    reads: pid === undefined ? undefined : (readsAfter - readsBefore) / requests,
    envoyCpuUs: (envoyAfter - envoyBefore) / requests,
  };
  return { sample, failures };
}

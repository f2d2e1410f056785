import type { PartContext } from "@aibrix/devcluster";
import { variantOf } from "./compare.ts";
import type { Placement } from "./loader.ts";
import { memoryMib } from "./processes.ts";
import { Stage } from "./stage.ts";

export interface SoakOptions extends Placement {
  readonly variants: readonly string[];
  readonly requests: number;
  readonly concurrency: number;
}

/** What very many requests over one connection did. */
export interface Soak {
  readonly variant: string;
  readonly requests: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Connections of Envoy to the ext_proc server, from first to last. */
  readonly connections: number;
  /** What is in RAM after so many requests, in MiB. */
  readonly memoryMib: readonly (readonly [requests: number, mib: number])[];
  readonly peakMib: number;
}

const STEP = 100_000;

/** Sends very many requests through an Envoy of one thread, which holds one connection to the ext_proc server. */
export async function soak(options: SoakOptions, context: PartContext): Promise<readonly Soak[]> {
  const all: Soak[] = [];
  for (const variant of options.variants) all.push(await soakOne(variant, options, context));
  return all;
}

async function soakOne(variant: string, options: SoakOptions, context: PartContext): Promise<Soak> {
  const { concurrency } = options;
  await using stage = await Stage.start({ ...options, envoyThreads: 1 }, context);
  const { server } = variantOf(variant);
  const subject = await stage.startVariant(variant, variantOf(variant));
  const body = await stage.body(1, false);
  const failures: Record<string, number> = {};
  const memory: [number, number][] = [];
  let sent = 0;
  while (sent < options.requests) {
    const requests = Math.min(STEP, options.requests - sent);
    const load = { to: subject.to[0] ?? "", body, concurrency, requests, seconds: 600, checkEngine: server.kind === "gateway" };
    const loaded = await stage.load(load);
    sent += loaded.requests;
    for (const [what, n] of Object.entries(loaded.failures)) failures[what] = (failures[what] ?? 0) + n;
    const mib = Math.round(memoryOf(subject.server?.pid).now);
    memory.push([sent, mib]);
    context.log(`${variant}: ${sent} of ${options.requests}, ${Math.round(loaded.requests / loaded.seconds)}/s, ${mib} MiB`);
    if (loaded.requests < requests) break; // Its time was over.
  }
  const connections = await subject.stat("cluster.ext_proc.upstream_cx_total");
  return {
    variant,
    requests: sent,
    failures,
    connections,
    memoryMib: memory,
    peakMib: Math.round(memoryOf(subject.server?.pid).peak),
  };
}

function memoryOf(pid: number | undefined): { readonly now: number; readonly peak: number } {
  return pid === undefined ? { now: 0, peak: 0 } : memoryMib(pid);
}

/** The same in words. */
export function soakText({ variant, requests, failures, connections, memoryMib, peakMib }: Soak): string {
  const failed = Object.values(failures).reduce((sum, n) => sum + n, 0);
  const early = memoryMib.find(([at]) => at >= 200_000);
  const last = memoryMib.at(-1);
  const grown =
    early === undefined || last === undefined || last === early
      ? ""
      : ` (${((last[1] / early[1]) * 100).toFixed(0)} % of that after ${early[0]})`;
  return [
    `soak of ${variant}: ${requests} requests over ${connections} connection(s), ${failed} failed ${failed > 0 ? JSON.stringify(failures) : ""}`,
    `  memory ${memoryMib.map(([at, mib]) => `${mib} MiB after ${at}`).join(", ")}${grown}; ${peakMib} MiB at the most\n`,
  ].join("\n");
}

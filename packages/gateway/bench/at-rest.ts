import { setTimeout as delay } from "node:timers/promises";
import type { PartContext } from "@aibrix/devcluster";
import { TestCluster, type TestPod } from "../test/support/cluster.ts";
import { variantOf } from "./compare.ts";
import { median, percentile } from "./histogram.ts";
import { adapterName, type Loaded, type Placement } from "./loader.ts";
import { cpuUs } from "./processes.ts";
import { Stage, type Subject } from "./stage.ts";
import { LIMIT, SHIPPED, type Variant } from "./variants.ts";

/*
 * Whether an update leaves anything behind in the gateway: an adapter that went through one, beside adapters that never did, in one gateway
 * that follows a real API server. Two of the latter say how far equal adapters differ.
 */

export interface AtRestOptions extends Pick<Placement, "engines"> {
  /** Requests per second. */
  readonly rate: number;
  /** Of one turn. */
  readonly seconds: number;
  readonly rounds: number;
}

const ROLES = ["never", "other", "updated"] as const;
type Role = (typeof ROLES)[number];
const NAMES: Readonly<Record<Role, string>> = { never: "never updated", other: "another one, never updated", updated: "updated twice" };

/** Medians of the rounds. */
export interface RestFigures {
  readonly p50Us: number;
  readonly p99Us: number;
  /** Above Envoy without ext_proc in the same round. */
  readonly addedP50Us: number;
  readonly addedP99Us: number;
  /** Of the gateway, for each request. */
  readonly cpuUs: number;
  readonly failures: number;
}

/** Figures of one adapter beside those of `never` in the same round. */
export interface Ratios {
  readonly addedP50: Spread;
  readonly addedP99: Spread;
  readonly cpu: Spread;
}

/** The median of the rounds, and the least and the most of them. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** What an adapter costs that rests after its updates. */
export interface AtRest {
  readonly rounds: number;
  readonly adapters: Readonly<Record<Role, RestFigures>>;
  /** Beside `never`: `other` is what noise does. */
  readonly ratios: Readonly<Record<Exclude<Role, "never">, Ratios>>;
  /** What requests met while the updates went on: how many there were, failures, and how many had the new content on trial. */
  readonly during: { readonly requests: number; readonly failures: number; readonly onTrial: number };
}

/** What one turn gave. */
export interface RestSample {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUs: number;
  readonly failures: number;
}

const NAMESPACE = "default";
const PODS = 2;
const CONNECTIONS = 32;
const BODY_KIB = 1;
/** Of the requests while an update goes on. */
const UPDATE_RATE = 200;
/** Longer than the updates here take. */
const UPDATE_SECONDS = 30;
const WARM_UP_SECONDS = 3;
const LOOK_MS = 20;
const SEEN_MS = 30_000;
const ON_TRIAL = 50;
const DIGEST = `sha256:${"2".repeat(64)}`;

/** The adapter's number. By the loader's rule all of them are on the first engines, so that they differ in nothing else. */
function numberOf(role: Role, engines: number): number {
  return ROLES.indexOf(role) * engines;
}

const podAddress = (engine: number): string => `10.0.0.${engine + 1}`;

/** Updates one adapter as the controller does, and then asks for it and for those that were never updated, in turn. */
export async function atRest(options: AtRestOptions, context: PartContext): Promise<AtRest> {
  const { engines, rounds } = options;
  await using stage = await Stage.start({ engines, adapters: 0, copies: PODS, envoyThreads: 2 }, context);
  await using cluster = await TestCluster.start();
  const pods: TestPod[] = [];
  for (let i = 0; i < PODS; i += 1) pods.push(await cluster.pod(NAMESPACE, `pod-${i}`, podAddress(i), { "model.aibrix.ai/name": "base" }));
  await cluster.engines(8000, pods);
  const numbers = { never: numberOf("never", engines), other: numberOf("other", engines), updated: numberOf("updated", engines) };
  for (const number of Object.values(numbers)) {
    await cluster.adapter(NAMESPACE, adapterName(number), { status: "True", reason: "ModelAdapterAvailable" });
    await cluster.slice(NAMESPACE, adapterName(number), pods);
  }
  const limit = await stage.startVariant(LIMIT, variantOf(LIMIT));
  const reach = Object.fromEntries(pods.map(({ ip }, i) => [`${ip}:8000`, i]));
  const gateway: Variant = { ...variantOf(SHIPPED), server: { kind: "cluster", kubeconfig: cluster.kubeconfig, reach } };
  const subject = await stage.startVariant("at-rest", gateway);
  await seen("all adapters", async () => (await subject.models()) === 1 + ROLES.length, context.signal);

  context.log("updating one adapter");
  const during = await updated(stage, subject, cluster, pods, numbers.updated, context);
  const taken: Record<Role | "limit", RestSample[]> = { never: [], other: [], updated: [], limit: [] };
  for (const role of ROLES) await turn(stage, subject, { ...options, seconds: WARM_UP_SECONDS }, numbers[role], context);
  for (let round = 0; round < rounds; round += 1) {
    context.log(`round ${round + 1} of ${rounds}`);
    taken.limit.push(await turn(stage, limit, options, numbers.never, context));
    for (let t = 0; t < ROLES.length; t += 1) {
      const role = ROLES[(round + t) % ROLES.length] as Role;
      taken[role].push(await turn(stage, subject, options, numbers[role], context));
    }
  }
  return restFigures(taken, during);
}

/** One update by a canary, after which another one takes the place of the content at once, where requests have to be held. */
async function updated(
  stage: Stage,
  subject: Subject,
  cluster: TestCluster,
  pods: readonly TestPod[],
  adapter: number,
  { signal, log }: PartContext,
): Promise<AtRest["during"]> {
  const name = adapterName(adapter);
  const [first, last] = pods;
  if (first === undefined || last === undefined) throw new Error("an update by a canary takes two pods");
  const startTime = new Date().toISOString();
  const update = { artifactURL: "s3://bucket/new", fingerprint: "f", contentDigest: DIGEST, startTime };
  const tell = async (fields: object | null, status: string, reason: string, more: object = {}): Promise<void> => {
    const at = new Date().toISOString();
    const conditions = [
      { type: "Ready", status: "True", reason: "ModelAdapterAvailable", message: "", lastTransitionTime: startTime },
      { type: "Updated", status, reason, message: "", lastTransitionTime: at },
    ];
    await cluster.adapterStatus(NAMESPACE, name, { conditions, update: fields, ...more });
  };
  const count = async (pattern: RegExp): Promise<number> => sumOf(await subject.metrics(), pattern);
  const onTrial = (): Promise<number> => count(/^aibrix_gateway_version_responses_total\{[^}]*version="canary"[^}]*\} (\d+)$/gm);

  const load = stage.startLoad({
    to: subject.to[0] ?? "",
    body: await stage.body(BODY_KIB, false),
    concurrency: CONNECTIONS,
    rate: UPDATE_RATE,
    seconds: UPDATE_SECONDS,
    adapter,
    checkEngine: true,
  });
  try {
    // The canary: a pod leaves the slices, comes back with the new content on trial, gets a share and then all; then the others follow.
    await cluster.editAdapter(NAMESPACE, name, "s3://bucket/new");
    await tell({ ...update, state: "Preparing" }, "Unknown", "UpdateRolling");
    await cluster.slice(NAMESPACE, name, [first]);
    await cluster.canarySlice(NAMESPACE, name, [last], ON_TRIAL);
    await tell({ ...update, state: "Swapping", step: 1, weight: ON_TRIAL, stepTime: startTime }, "Unknown", "UpdateOnTrial");
    await seen("answers of the content on trial", async () => (await onTrial()) > 0, signal);
    await cluster.canarySlice(NAMESPACE, name, [last], 100);
    await tell({ ...update, state: "Swapping", step: 2, weight: 100, stepTime: startTime }, "Unknown", "UpdateRolling");
    await cluster.slice(NAMESPACE, name, [last]);
    await cluster.canarySlice(NAMESPACE, name, [], 100);
    await cluster.slice(NAMESPACE, name, pods);
    await tell(null, "True", "Updated", { contentDigest: DIGEST });
    const answers = await onTrial();
    log(`  ${answers} answers of the content on trial`);
    // The swap: no pod is left, and requests are held until they are back.
    await cluster.editAdapter(NAMESPACE, name, "s3://bucket/newer");
    await tell({ ...update, artifactURL: "s3://bucket/newer", state: "Swapping" }, "Unknown", "UpdateRolling");
    await cluster.slice(NAMESPACE, name, []);
    const held = (): Promise<number> => count(/^aibrix_gateway_held_requests (\d+)$/gm);
    await seen("requests that are held", async () => (await held()) > 0, signal);
    await cluster.slice(NAMESPACE, name, pods);
    await tell(null, "True", "Updated", { contentDigest: DIGEST.replaceAll("2", "3") });
    await seen("that no request is held any more", async () => (await held()) === 0, signal);
    const { requests, failures } = (await load.say()) as Loaded;
    const still = await onTrial();
    if (still !== answers) throw new Error(`${still - answers} requests had a content on trial after the trial was over`);
    return { requests, failures: failed(failures, log), onTrial: answers };
  } finally {
    await load.stop();
  }
}

function failed(failures: Loaded["failures"], log: PartContext["log"]): number {
  const count = Object.values(failures).reduce((sum, n) => sum + n, 0);
  if (count > 0) log(`  failed: ${JSON.stringify(failures)}`);
  return count;
}

/** The sum of all that a pattern finds; its first group is a number. */
export function sumOf(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}

async function turn(
  stage: Stage,
  subject: Subject,
  { rate, seconds }: AtRestOptions,
  adapter: number,
  { log }: PartContext,
): Promise<RestSample> {
  const pid = subject.server?.pid;
  const checkEngine = pid !== undefined;
  const used = (): number => (pid === undefined ? 0 : cpuUs(pid));
  const before = used();
  const body = await stage.body(BODY_KIB, false);
  const loaded = await stage.load({ to: subject.to[0] ?? "", body, concurrency: CONNECTIONS, rate, seconds, adapter, checkEngine });
  return {
    p50Us: percentile(loaded.latencies, 50),
    p99Us: percentile(loaded.latencies, 99),
    cpuUs: (used() - before) / loaded.requests,
    failures: failed(loaded.failures, log),
  };
}

async function seen(what: string, look: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + SEEN_MS;
  while (!(await look())) {
    if (performance.now() > endMs) throw new Error(`waited ${SEEN_MS / 1_000} s in vain for ${what}`);
    await delay(LOOK_MS, undefined, { signal });
  }
}

/** Sets what was taken side by side, round by round. */
export function restFigures(taken: Readonly<Record<Role | "limit", readonly RestSample[]>>, during: AtRest["during"]): AtRest {
  const added = (sample: RestSample, round: number, of: "p50Us" | "p99Us"): number => sample[of] - (taken.limit[round]?.[of] ?? Number.NaN);
  const figures = (samples: readonly RestSample[]): RestFigures => {
    const of = (read: (s: RestSample, round: number) => number): number => median(samples.map(read));
    return {
      p50Us: of((s) => s.p50Us),
      p99Us: of((s) => s.p99Us),
      addedP50Us: of((s, round) => added(s, round, "p50Us")),
      addedP99Us: of((s, round) => added(s, round, "p99Us")),
      cpuUs: of((s) => s.cpuUs),
      failures: samples.reduce((sum, s) => sum + s.failures, 0),
    };
  };
  const ratios = (samples: readonly RestSample[]): Ratios => {
    const beside = (read: (s: RestSample, round: number) => number): Spread => {
      const all = samples.flatMap((s, round) => {
        const never = taken.never[round];
        return never === undefined ? [] : [read(s, round) / read(never, round)];
      });
      return { median: median(all), least: Math.min(...all), most: Math.max(...all) };
    };
    return {
      addedP50: beside((s, round) => added(s, round, "p50Us")),
      addedP99: beside((s, round) => added(s, round, "p99Us")),
      cpu: beside((s) => s.cpuUs),
    };
  };
  return {
    rounds: taken.limit.length,
    adapters: { never: figures(taken.never), other: figures(taken.other), updated: figures(taken.updated) },
    ratios: { other: ratios(taken.other), updated: ratios(taken.updated) },
    during,
  };
}

/** The same in words. */
export function atRestText({ rounds, adapters, ratios, during }: AtRest): string {
  const figures = ([role, f]: [string, RestFigures]): string =>
    `  ${NAMES[role as Role].padEnd(28)} p50 ${Math.round(f.p50Us)} µs, p99 ${Math.round(f.p99Us)} µs, added p50 ${Math.round(f.addedP50Us)} µs, added p99 ${Math.round(f.addedP99Us)} µs, CPU ${f.cpuUs.toFixed(1)} µs, ${f.failures} failed\n`;
  const spread = ({ median: middle, least, most }: Spread): string => `${middle.toFixed(2)}x (${least.toFixed(2)} to ${most.toFixed(2)})`;
  const beside = ([role, r]: [string, Ratios]): string =>
    `  ${NAMES[role as Role]}, beside the first: added p50 ${spread(r.addedP50)}, added p99 ${spread(r.addedP99)}, CPU ${spread(r.cpu)}\n`;
  return [
    `an adapter at rest after updates, ${rounds} rounds; during them ${during.requests} requests, ${during.failures} failed, ${during.onTrial} answered by the content on trial\n`,
    ...Object.entries(adapters).map(figures),
    ...Object.entries(ratios).map(beside),
  ].join("");
}

import { sleep } from "@aibrix/kube";
import { until } from "../test/support/world.ts";
import { costs, count, type Figure, milliseconds, percent, percentile, type Report, seconds } from "./report.ts";
import { type BenchPod, isReady, Stage, type StageOptions } from "./stage.ts";
import { singleVllm } from "./vllm.ts";

/** What the command line says; what a scenario does not need it does not read. */
export interface Options {
  readonly adapters: number | undefined;
  readonly pods: number | undefined;
  readonly replicas: number | undefined;
  readonly loadMs: number;
  readonly direct: boolean;
  readonly minutes: number;
  /** How much faster than the clock the controller's backoff runs. */
  readonly clock: number;
}

export interface Scenario {
  readonly does: string;
  readonly run: (options: Options) => Promise<Report>;
}

/** How long an engine that was killed is away. */
const AWAY_MS = 2_000;

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  single: { does: "one adapter after the other on one and on three pods, from create to Ready", run: single },
  "single-vllm": { does: "the same on real vLLMs with real sidecars; needs 6 GB of memory", run: singleVllm },
  "peer-50": { does: "50 adapters at once on three pods, all of them on each", run: (o) => peer("peer-50", 50, 1.4, o) },
  "peer-300": { does: "300 adapters at once on three pods, all of them on each", run: (o) => peer("peer-300", 300, 1.2, o) },
  restart: { does: "an engine's process dies and answers again after two seconds", run: restart },
  forget: { does: "an engine forgets an adapter", run: forget },
  hang: { does: "one of three pods hangs while adapters come and go", run: hang },
  "always-fail": { does: "loads that always fail: calls per minute, on a clock that is --clock times faster", run: alwaysFail },
  "scale-to-zero": { does: "all pods are deleted", run: scaleToZero },
  "take-over": { does: "the leader of two controllers is killed, and ends in order", run: takeOver },
  idle: { does: "what is asked while nothing happens, with ten adapters and with 300", run: idle },
  scale: { does: "many adapters on many pods, then one pod is lost (--adapters 1000 --pods 50 --replicas 2)", run: scale },
  flat: { does: "what an adapter costs of 100 and of 1,000", run: flat },
  "load-5000": { does: "5,000 adapters", run: (o) => scale({ ...o, adapters: o.adapters ?? 5_000 }, "load-5000") },
};

async function single(o: Options): Promise<Report> {
  const REPEATS = 30;
  const figures: Figure[] = [];
  for (const pods of [1, 3]) {
    await using stage = await Stage.start(stageOf(o, pods));
    const took: number[] = [];
    for (let i = 0; i < REPEATS; i++) {
      const name = `lora-${i}`;
      const startMs = await stage.create([name]);
      took.push((await stage.ready([name], pods)) - startMs);
    }
    const goal = `the load of ${o.loadMs} ms and ${pods === 1 ? 1 : 2} s`;
    figures.push(milliseconds(`create to Ready on ${pods} pods, median of ${REPEATS}`, percentile(took, 50), `under ${goal}`));
    figures.push(milliseconds(`create to Ready on ${pods} pods, longest`, Math.max(...took)));
  }
  return { scenario: "single", of: way(o), figures };
}

async function peer(scenario: string, n: number, factor: number, o: Options): Promise<Report> {
  await using stage = await Stage.start(stageOf(o, 3));
  const before = await stage.figures();
  const names = named(n);
  const startMs = await stage.create(names);
  const tookMs = (await stage.ready(names, 3)) - startMs;
  const after = await stage.figures();
  const floorMs = n * o.loadMs;
  return {
    scenario,
    of: `${n} adapters × 3 pods, ${way(o)}`,
    figures: [
      seconds("created until all are Ready", tookMs, `at most ${factor} × ${floorMs / 1000} s, which the engines take`),
      count("× what the engines take", tookMs / floorMs, `at most ${factor}`),
      seconds(
        "created until the engines had been asked for all",
        Math.max(...stage.pods.map((p) => p.engine.loads.at(-1)?.atMs ?? 0)) - startMs,
      ),
      seconds("created until the engines had loaded all", Math.max(...stage.pods.map((p) => p.engine.lastLoadedMs)) - startMs),
      count("load calls to each engine and adapter", sum(stage.pods, (p) => p.engine.loads.length) / (3 * n), "1"),
      ...costs(before, after, n),
    ],
  };
}

async function restart(o: Options): Promise<Report> {
  const n = o.adapters ?? 50;
  await using stage = await Stage.start(stageOf(o, 3));
  const names = named(n);
  await stage.create(names);
  await stage.ready(names, 3);
  const victim = first(stage.pods);
  const before = await stage.figures();
  const loadsBefore = victim.engine.loads.length;
  const killedMs = performance.now();
  const unlisted = stage.unlisted(victim.pod.ip, names);
  await stage.killEngine(victim);
  const unlistedMs = (await unlisted) - killedMs;
  await sleep(AWAY_MS, new AbortController().signal);
  const answersMs = await stage.startEngine(victim);
  const firstLoad = until("it is asked to load", () => victim.engine.loads[loadsBefore]?.atMs, 60_000, 1);
  const readyMs = (await stage.ready(names, 3)) - answersMs;
  const after = await stage.figures();
  const loadsMs = n * o.loadMs;
  return {
    scenario: "restart",
    of: `${n} adapters × 3 pods, ${way(o)}`,
    figures: [
      seconds("killed until its address is in no slice", unlistedMs),
      seconds("it answers until the first load", (await firstLoad) - answersMs),
      seconds("it answers until all are Ready on it", readyMs, `the loads' ${loadsMs / 1000} s and at most 1 s`),
      seconds("of that beyond the loads", readyMs - loadsMs, "at most 1 s"),
      ...costs(before, after, n),
    ],
  };
}

async function forget(o: Options): Promise<Report> {
  const REPEATS = 10;
  await using stage = await Stage.start(stageOf(o, 3));
  const [name = ""] = named(1);
  await stage.create([name]);
  await stage.ready([name], 3);
  const took: number[] = [];
  const victim = first(stage.pods);
  for (let i = 0; i < REPEATS; i++) {
    // At any moment between two looks.
    await sleep(Math.random() * 5_000, new AbortController().signal);
    const lostMs = performance.now();
    if (o.direct) victim.engine.adapters.delete(name);
    else void victim.sidecar.lose(name);
    await stage.ready([name], 2);
    took.push((await stage.ready([name], 3)) - lostMs);
  }
  return {
    scenario: "forget",
    of: way(o),
    figures: [seconds("lost until Ready again, median of 10", percentile(took, 50)), seconds("longest", Math.max(...took))],
  };
}

async function hang(o: Options): Promise<Report> {
  const n = o.adapters ?? 50;
  await using stage = await Stage.start(stageOf(o, 3));
  const names = named(n);
  await stage.create(names);
  await stage.ready(names, 3);
  const victim = first(stage.pods);
  const others = stage.pods.filter((p) => p !== victim);
  stage.setHang(victim, true);
  const hangsMs = performance.now();
  const unlisted = stage.unlisted(victim.pod.ip, names);
  const early = await newcomers(stage, "early", 10);
  const [leaver = ""] = names;
  const deletedMs = await stage.remove([leaver]);
  const during = await newcomers(stage, "during", 10);
  const othersGone = until(
    "the other engines gave it up",
    () => others.every((p) => !p.engine.adapters.has(leaver)) && performance.now(),
    60_000,
    5,
  );
  const goneMs = (await stage.gone([leaver])) - deletedMs;
  const unlistedMs = (await unlisted) - hangsMs;
  const backMs = performance.now();
  stage.setHang(victim, false);
  const sweptMs = (await until("it is swept", () => !victim.engine.adapters.has(leaver) && performance.now(), 120_000, 5)) - backMs;
  const late = [...names.slice(1), ...early.names, ...during.names];
  const wholeMs = (await stage.ready(late, 3)) - backMs;
  return {
    scenario: "hang",
    of: `${n} adapters × 3 pods, one of which hangs, ${way(o)}`,
    figures: [
      seconds("it hangs until its address is in no slice", unlistedMs),
      seconds("10 adapters created while it hangs: Ready on the other two", early.tookMs, "as without the hang"),
      seconds("10 more while a deletion waits for it", during.tookMs, "as without the hang"),
      seconds("deleted meanwhile: out of the other engines", (await othersGone) - deletedMs),
      seconds("deleted meanwhile: object gone", goneMs, "at most 30 s and a little"),
      seconds("it answers until the deleted adapter is swept there", sweptMs),
      seconds("it answers until all others are Ready on all three", wholeMs),
    ],
  };
}

async function newcomers(stage: Stage, prefix: string, n: number): Promise<{ readonly names: string[]; readonly tookMs: number }> {
  const names = Array.from({ length: n }, (_, i) => `${prefix}-${i}`);
  const startMs = await stage.create(names);
  return { names, tookMs: (await stage.ready(names, 2)) - startMs };
}

async function alwaysFail(o: Options): Promise<Report> {
  const { clock, minutes } = o;
  const timing = { callBackoff: { baseMs: 1_000 / clock, maxMs: 300_000 / clock }, callSettleMs: 2_000 / clock };
  await using stage = await Stage.start({ ...stageOf(o, 3), timing });
  for (const { engine, sidecar } of stage.pods) {
    engine.fails = true;
    sidecar.fails = true;
  }
  await stage.create(named(1));
  const loadsOf = ({ engine, sidecar }: BenchPod) => (o.direct ? engine.loads : sidecar.loads);
  await until("each pod was asked", () => stage.pods.every((p) => loadsOf(p).length > 0));
  await sleep((minutes * 60_000) / clock, new AbortController().signal);
  const inMinute = (minute: number) =>
    Math.max(
      ...stage.pods.map((p) => {
        const loads = loadsOf(p);
        const fromMs = (loads[0]?.atMs ?? 0) + ((minute - 1) * 60_000) / clock;
        return loads.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + 60_000 / clock).length;
      }),
    );
  return {
    scenario: "always-fail",
    of: `1 adapter × 3 pods, a clock ${clock} times as fast, ${way(o)}`,
    figures: [
      count("load calls in the first minute, most of a pod", inMinute(1), "at most 12"),
      ...(minutes < 10 ? [] : [count("load calls in the tenth minute, most of a pod", inMinute(10), "at most 2")]),
      count(`load calls in ${minutes} minutes, most of a pod`, Math.max(...stage.pods.map((p) => loadsOf(p).length))),
    ],
  };
}

async function scaleToZero(o: Options): Promise<Report> {
  const n = o.adapters ?? 50;
  await using stage = await Stage.start(stageOf(o, 3));
  const names = named(n);
  await stage.create(names);
  await stage.ready(names, 3);
  const startMs = performance.now();
  await Promise.all([...stage.pods].map((p) => stage.losePod(p)));
  const told = stage.adapters("not Ready", names, (a) => a !== undefined && !isReady(a));
  return {
    scenario: "scale-to-zero",
    of: `${n} adapters × 3 pods, ${way(o)}`,
    figures: [seconds("deleted until all say Ready False", (await told) - startMs, "at most 2 s")],
  };
}

async function takeOver(o: Options): Promise<Report> {
  const figures: Figure[] = [];
  for (const [signal, goal] of [
    ["SIGKILL", "at most the lease of 15 s, a try of 2 s, and a load"],
    ["SIGTERM", "at most a try of 2 s, and a load"],
  ] as const) {
    await using stage = await Stage.start({ ...stageOf(o, 1), leaderElect: true });
    await stage.create(["before"]);
    await stage.ready(["before"], 1);
    await stage.standBy();
    const endMs = stage.endLeader(signal);
    await stage.create(["after"]);
    figures.push(seconds(`${signal} until an adapter that was created then is Ready`, (await stage.ready(["after"], 1)) - endMs, goal));
  }
  return { scenario: "take-over", of: way(o), figures };
}

async function idle(o: Options): Promise<Report> {
  const SECONDS = 60;
  const figures: Figure[] = [];
  for (const n of [10, o.adapters ?? 300]) {
    await using stage = await Stage.start({ ...stageOf(o, 3), loadMs: Math.min(o.loadMs, 5) });
    const names = named(n);
    await stage.create(names);
    await stage.ready(names, 3);
    // What the last change still has to say: bookkeeping of events, calls that settle.
    await sleep(20_000, new AbortController().signal);
    const asked = () =>
      sum(stage.pods, ({ engine, sidecar }) => engine.lists + engine.loads.length + sidecar.loads.length + sidecar.watches);
    const [before, askedBefore] = [await stage.figures(), asked()];
    await sleep(SECONDS * 1_000, new AbortController().signal);
    const after = await stage.figures();
    figures.push(
      count(`${n} adapters: calls to the three pods in a minute`, asked() - askedBefore, o.direct ? "12 for each pod" : "0"),
      count(`${n} adapters: calls to the API server in a minute`, after.calls - before.calls),
      count(`${n} adapters: reconciles in a minute`, after.reconcileMs.length),
      percent(`${n} adapters: of a core`, (after.cpuMs - before.cpuMs) / (SECONDS * 10)),
    );
  }
  return { scenario: "idle", of: `3 pods, ${way(o)}`, figures };
}

async function scale(o: Options, scenario = "scale"): Promise<Report> {
  const { adapters: n = 1_000, pods = 50, replicas = 2 } = o;
  await using stage = await Stage.start(stageOf(o, pods));
  const idling = await stage.figures();
  const names = named(n);
  const startMs = await stage.create(names, { replicas });
  const createdMs = performance.now() - startMs;
  const readyMs = (await stage.ready(names, Math.min(replicas, pods))) - startMs;
  const ready = await stage.figures();
  const loads = sum(stage.pods, (p) => p.engine.loads.length);
  const lost = first(stage.pods);
  const had = lost.engine.adapters.size;
  const lostMs = performance.now();
  await stage.losePod(lost);
  const left = Math.min(replicas, pods - 1);
  const moved = (a: { readonly status?: { readonly instances?: readonly string[]; readonly readyReplicas?: number } } | undefined) =>
    a?.status?.readyReplicas === left && a.status.instances?.includes(lost.pod.name) === false;
  const movedMs = (await stage.adapters("moved", names, moved)) - lostMs;
  const end = await stage.figures();
  return {
    scenario,
    of: `${n} adapters × ${pods} pods, ${replicas} replicas, ${way(o)}`,
    figures: [
      seconds("all are created after", createdMs),
      seconds("all are Ready after", readyMs),
      count("load calls per adapter and replica", loads / (n * Math.min(replicas, pods)), "1"),
      ...costs(idling, ready, n),
      seconds(`one pod lost: its ${had} adapters are Ready elsewhere after`, movedMs),
      count("one pod lost: API calls for each of them", (end.calls - ready.calls) / Math.max(1, had)),
      ...costs(ready, end, Math.max(1, had))
        .filter((f) => f.unit === "MiB" || f.what.startsWith("CPU"))
        .map(afterLoss),
    ],
  };
}

/** Each number of adapters comes and goes in the same process, after some that warm it up. */
async function flat(o: Options): Promise<Report> {
  const [few, many] = [100, o.adapters ?? 1_000];
  const { pods = 50, replicas = 2 } = o;
  await using stage = await Stage.start(stageOf(o, pods));
  const round = async (n: number) => {
    const names = named(n);
    const before = await stage.figures();
    const startMs = await stage.create(names, { replicas });
    const tookMs = (await stage.ready(names, replicas)) - startMs;
    const after = await stage.figures();
    await stage.remove(names);
    await stage.gone(names);
    // Events and settled calls of these are not to count for the next.
    await sleep(5_000, new AbortController().signal);
    await stage.figures();
    return {
      tookMs: tookMs / n,
      cpuMs: (after.cpuMs - before.cpuMs) / n,
      calls: (after.calls - before.calls) / n,
      reconciles: after.reconcileMs.length / n,
      figures: [before, after] as const,
    };
  };
  await round(few);
  await round(few);
  const little = await round(few);
  const much = await round(many);
  const goal = "under 1.5";
  return {
    scenario: "flat",
    of: `${few} and ${many} adapters × ${pods} pods, ${replicas} replicas, ${way(o)}`,
    figures: [
      milliseconds(`time per adapter, of ${few}`, little.tookMs),
      milliseconds(`time per adapter, of ${many}`, much.tookMs),
      count("ratio", much.tookMs / little.tookMs, goal),
      milliseconds(`CPU time per adapter, of ${few}`, little.cpuMs),
      milliseconds(`CPU time per adapter, of ${many}`, much.cpuMs),
      count("ratio", much.cpuMs / little.cpuMs, goal),
      count(`API calls per adapter, of ${few}`, little.calls),
      count(`API calls per adapter, of ${many}`, much.calls),
      count("ratio", much.calls / little.calls, goal),
      ...costs(...much.figures, many).filter((f) => f.unit === "MiB"),
    ],
  };
}

function afterLoss({ what, ...rest }: Figure): Figure {
  return { what: `one pod lost: ${what.replace("per adapter", "for each of them")}`, ...rest };
}

function stageOf({ loadMs, direct }: Options, pods: number): StageOptions {
  return { pods, loadMs, direct };
}

function way({ direct, loadMs }: Options): string {
  return `${loadMs} ms a load, ${direct ? "engines without sidecar" : "through sidecars"}`;
}

function named(n: number): string[] {
  return Array.from({ length: n }, (_, i) => `lora-${i}`);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function first<T>([item]: readonly T[]): T {
  if (item === undefined) throw new Error("no pod");
  return item;
}

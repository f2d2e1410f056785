import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Timing } from "@aibrix/controller";
import { ENDPOINT_SLICES, type EndpointSlice, Reflector, type Store } from "@aibrix/kube";
import { createLogger } from "@aibrix/service";
import pLimit from "p-limit";
import type { Adapter } from "../test/support/adapters.ts";
import { adapter, BASE, type FakePod, until, World } from "../test/support/world.ts";
import type { Figures, ProcessOptions } from "./controller-process.ts";
import { BenchEngine, BenchSidecar } from "./engine.ts";

/** A pod whose engine and sidecar the bench has in its hand. */
export interface BenchPod {
  readonly pod: FakePod;
  readonly engine: BenchEngine;
  readonly sidecar: BenchSidecar;
}

export interface StageOptions {
  readonly pods: number;
  readonly loadMs: number;
  /** Engines without sidecar. */
  readonly direct: boolean;
  /** The controller elects a leader, so that another may stand by. */
  readonly leaderElect?: boolean;
  readonly timing?: Timing;
}

const WAIT_MS = 600_000;
/** How many adapters are created or deleted at a time. */
const AT_ONCE = 32;
const NODES = 10;

/** A real API server, pods on it that answer, the controller as a process, and an eye on what the API server holds. */
export class Stage implements AsyncDisposable {
  readonly world: World;
  readonly pods: BenchPod[] = [];
  readonly #options: StageOptions;
  readonly #adapters: Reflector<Adapter>;
  readonly #slices: Reflector<EndpointSlice>;
  readonly #stop = new AbortController();
  #watching: Promise<unknown> | undefined;
  #controller: ChildProcess | undefined;
  #standby: ChildProcess | undefined;

  private constructor(world: World, options: StageOptions) {
    this.world = world;
    this.#options = options;
    const common = { client: world.admin, log: createLogger("bench", "silent") };
    this.#adapters = new Reflector({ ...common, resource: world.resource("ModelAdapter") as never });
    this.#slices = new Reflector({ ...common, resource: ENDPOINT_SLICES, namespace: "default" });
  }

  static async start(options: StageOptions): Promise<Stage> {
    const stage = new Stage(await World.start(), options);
    try {
      for (let i = 0; i < options.pods; i++) await stage.addPod(`pod-${i}`, `node-${i % NODES}`);
      const { signal } = stage.#stop;
      stage.#watching = Promise.all([stage.#adapters.run(signal), stage.#slices.run(signal)]);
      await Promise.all([stage.#adapters.synced(signal), stage.#slices.synced(signal)]);
      // An API server is slow with the first objects of a new kind, by some two seconds; they are no work of the controller's.
      await stage.create(["first"]);
      await stage.remove(["first"]);
      stage.#controller = await stage.#startController();
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  async addPod(name: string, nodeName: string): Promise<void> {
    const { loadMs, direct } = this.#options;
    const pod = await this.world.pod(name, { sidecar: !direct, ready: false, nodeName });
    const engine = new BenchEngine({ base: BASE, loadMs });
    const sidecar = new BenchSidecar(engine);
    this.world.pods.put(pod.ip, 8000, engine);
    this.world.pods.put(pod.ip, 8080, sidecar);
    await this.world.setReady(pod, true);
    this.pods.push({ pod, engine, sidecar });
  }

  async losePod(lost: BenchPod): Promise<void> {
    this.pods.splice(this.pods.indexOf(lost), 1);
    lost.sidecar.dropStreams();
    await this.world.deletePod(lost.pod);
  }

  /** The engine's process dies, and Kubernetes tells of it where nobody else does. */
  async killEngine(p: BenchPod): Promise<void> {
    if (!this.#options.direct) return p.sidecar.killEngine();
    p.engine.kill();
    await this.world.setReady(p.pod, false);
  }

  /** It answers again. @returns when it did, on the steady clock */
  async startEngine(p: BenchPod): Promise<number> {
    const answersMs = performance.now();
    if (this.#options.direct) {
      p.engine.start();
      await this.world.setReady(p.pod, true, new Date());
    } else void p.sidecar.startEngine();
    return answersMs;
  }

  setHang(p: BenchPod, hangs: boolean): void {
    p.engine.hangs = hangs;
    p.sidecar.hangs = hangs;
  }

  /** Creates them as fast as the API server takes them. @returns when it began, on the steady clock */
  async create(names: readonly string[], spec: Record<string, unknown> = {}): Promise<number> {
    const startMs = performance.now();
    const limit = pLimit(AT_ONCE);
    await Promise.all(names.map((name) => limit(() => this.world.create(adapter(name, spec)))));
    return startMs;
  }

  async remove(names: readonly string[]): Promise<number> {
    const startMs = performance.now();
    const limit = pLimit(AT_ONCE);
    await Promise.all(names.map((name) => limit(() => this.world.remove("ModelAdapter", `default/${name}`))));
    return startMs;
  }

  /** Waits until all of them are served by so many pods. @returns when, on the steady clock */
  ready(names: readonly string[], pods: number): Promise<number> {
    return this.adapters(`ready on ${pods} pods`, names, (a) => isReady(a) === pods > 0 && (a?.status?.readyReplicas ?? 0) === pods);
  }

  gone(names: readonly string[]): Promise<number> {
    return this.adapters("gone", names, (a) => a === undefined);
  }

  /** Waits until something holds for all of them. @returns when, on the steady clock */
  adapters(what: string, names: readonly string[], holds: (a: Adapter | undefined) => boolean): Promise<number> {
    const keys = names.map((name) => `default/${name}`);
    return allHold(`adapters are ${what}`, this.#adapters.store, keys, holds);
  }

  /** Waits until no slice has an address. @returns when, on the steady clock */
  unlisted(ip: string, names: readonly string[]): Promise<number> {
    const ours = new Set(names);
    const lists = (s: EndpointSlice) => (s.endpoints ?? []).some((e) => e.addresses.includes(ip));
    const keys = [...this.#slices.store.values()]
      .filter((s) => ours.has(s.metadata.labels?.["kubernetes.io/service-name"] ?? ""))
      .map((s) => `default/${s.metadata.name}`);
    return allHold(`slices without ${ip}`, this.#slices.store, keys, (s) => s === undefined || !lists(s));
  }

  /** What the controller's process says of itself. */
  figures(): Promise<Figures> {
    return ask(this.#controller);
  }

  /** Starts another controller that waits for the lease. */
  async standBy(): Promise<void> {
    this.#standby = await this.#startController();
  }

  /** Ends the leader. @returns when it was told to, on the steady clock */
  endLeader(signal: "SIGKILL" | "SIGTERM"): number {
    this.#controller?.kill(signal);
    this.#controller = this.#standby;
    this.#standby = undefined;
    return performance.now();
  }

  async #startController(): Promise<ChildProcess> {
    const options: ProcessOptions = {
      kubeconfig: await this.world.controllerKubeconfig(),
      pods: this.world.pods.url,
      flags: [
        ...(this.#options.direct ? [] : ["--enable-runtime-sidecar"]),
        ...(this.#options.leaderElect === true ? ["--leader-elect"] : []),
      ],
      timing: this.#options.timing ?? {},
    };
    // As it ships: what was built, not the sources that this file runs from, with the flags of the program's first line.
    const [line = ""] = (await readFile(new URL("../src/main.ts", import.meta.url), "utf8")).split("\n");
    const execArgv = [...(line.match(/ --\S+/g) ?? []).map((flag) => flag.trim()), ...MORE_FLAGS];
    const file = fileURLToPath(new URL("controller-process.ts", import.meta.url));
    const child = fork(file, [JSON.stringify(options)], { execArgv });
    await until("the caches are filled", async () => (await ask(child)).ready);
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [this.#controller, this.#standby]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    }
    this.#stop.abort();
    await this.#watching;
    await this.world[Symbol.asyncDispose]();
  }
}

/** More flags of Node for the controller's process; what a profiler wants for example. */
const MORE_FLAGS: string[] = (process.env.BENCH_NODE_FLAGS ?? "").split(" ").filter((flag) => flag !== "");

async function ask(child: ChildProcess | undefined): Promise<Figures> {
  if (child === undefined || child.exitCode !== null) throw new Error("the controller's process has ended: see its log");
  child.send("figures");
  const [figures] = await once(child, "message", { signal: AbortSignal.timeout(60_000) });
  return figures as Figures;
}

export function isReady(a: Adapter | undefined): boolean {
  return a?.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
}

/** Waits until something holds for all of these objects at once, by the store's changes alone. */
export async function allHold<T extends { readonly metadata: { readonly name: string } }>(
  what: string,
  store: Store<T & import("@aibrix/kube").KubeObject>,
  keys: readonly string[],
  holds: (object: T | undefined) => boolean,
): Promise<number> {
  const wanted = new Set(keys);
  const missing = new Set(keys.filter((key) => !holds(store.get(key))));
  if (missing.size === 0) return performance.now();
  const done = Promise.withResolvers<number>();
  const off = store.onChange(({ key, object }) => {
    if (!wanted.has(key)) return;
    if (holds(object)) missing.delete(key);
    else missing.add(key);
    if (missing.size === 0) done.resolve(performance.now());
  });
  const timer = setTimeout(
    () =>
      done.reject(new Error(`not within ${WAIT_MS / 1000} s: ${what}; ${missing.size} are not, ${[...missing].slice(0, 3).join(", ")}`)),
    WAIT_MS,
  );
  try {
    return await done.promise;
  } finally {
    clearTimeout(timer);
    off();
  }
}

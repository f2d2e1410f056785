import { ENDPOINT_SLICES, type EndpointSlice } from "@aibrix/kube";
import fc from "fast-check";
import { expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { digestAt } from "./support/fake-runtime.ts";
import { adapter, BASE, type FakePod, type RunningController, until } from "./support/world.ts";

/** Sequences of events that are tried, and events in each. */
const [RUNS, STEPS] = [20, 12];
/** A slice is written by way of the API server: for so long it may hold what has just ended. */
const STALE_MS = 2_000;
const HEALED_MS = 90_000;
const TIMING = {
  callBackoff: { baseMs: 20, maxMs: 500 },
  callSettleMs: 200,
  directPeriodMs: 100,
  secretMaxAgeMs: 300,
  bounds: { directLoadMs: 2_000, deletionMs: 4_000 },
} as const;

const NAMES = ["a", "b", "c"] as const;
/** Of these the last has no sidecar. */
const PODS = ["p0", "p1", "p2"] as const;
const name = fc.constantFrom(...NAMES);
const pod = fc.constantFrom(...PODS);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("declare" as const),
      name,
      url: fc.constantFrom("one", "two", "bad"),
      replicas: fc.constantFrom(undefined, 1, 2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete adapter" as const), name }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("engine" as const), pod, up: fc.boolean() }) },
  fc.record({ kind: fc.constant("engine restarts" as const), pod }),
  fc.record({ kind: fc.constant("sidecar restarts" as const), pod }),
  fc.record({
    kind: fc.constant("ill" as const),
    pod,
    ill: fc.constantFrom(undefined, "500" as const, "reset" as const, "garbage" as const),
  }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ready" as const), pod, ready: fc.boolean() }) },
  fc.record({ kind: fc.constant("replace pod" as const), pod }),
  fc.record({ kind: fc.constant("relabel pod" as const), pod, matches: fc.boolean() }),
  fc.record({ kind: fc.constant("Secret" as const), there: fc.boolean() }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("controller restarts" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("look" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

useWorld();

test(
  "whatever happens to pods, engines, adapters, Secrets and the controller: what is declared is served in the end, no engine loads a name twice at a time, no sidecar is called twice at a time for a name, and no slice goes on holding a pod that is not ready or does not serve",
  async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: STEPS, maxLength: STEPS }), async (steps) => {
        const story = await Story.begin(`run-${run++}`);
        try {
          for (const s of steps) await story.take(s);
          await story.heal();
          expect(story.lies).toEqual([]);
          expect(story.doubles()).toEqual([]);
        } finally {
          await story.end();
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  30 * 60_000,
);

function urlOf(name: string, end = ""): string {
  return `huggingface://${name}/${end}`;
}

/** One sequence, in a namespace of its own. */
class Story {
  readonly namespace: string;
  /** What the slices said of pods that were not ready or did not serve, and had not been so for a while. */
  readonly lies: string[] = [];
  readonly #pods = new Map<string, FakePod>();
  readonly #former: FakePod[] = [];
  readonly #declared = new Map<string, { readonly url: string; readonly replicas: number | undefined }>();
  readonly #ready = new Map<string, boolean>();
  readonly #matching = new Map<string, boolean>(PODS.map((p) => [p, true]));
  readonly #stop = new AbortController();
  #controller: RunningController | undefined;
  #watching: Promise<void> = Promise.resolve();
  #version = 0;

  private constructor(namespace: string) {
    this.namespace = namespace;
  }

  static async begin(namespace: string): Promise<Story> {
    const story = new Story(namespace);
    await world.namespace(namespace);
    await story.#secret(true);
    for (const p of PODS) await story.#make(p);
    await story.#start();
    story.#watching = story.#watch();
    // What happens is to happen to pods that serve: by chance alone they hardly ever do.
    story.#declared.set("a", { url: "one", replicas: undefined });
    await story.#apply("a");
    await until(`${namespace}/a is as declared`, () => story.#isAsDeclared("a"), HEALED_MS, 100);
    return story;
  }

  async take(s: Step): Promise<void> {
    switch (s.kind) {
      case "declare":
        this.#declared.set(s.name, { url: s.url, replicas: s.replicas });
        await this.#apply(s.name);
        return;
      case "delete adapter":
        this.#declared.delete(s.name);
        if ((await world.get("ModelAdapter", this.#key(s.name))) !== undefined) await world.remove("ModelAdapter", this.#key(s.name));
        return;
      case "engine":
        this.#engine(this.#pod(s.pod), s.up);
        if (!s.up && !this.#isDirect(this.#pod(s.pod))) await this.#leavesSlices(s.pod);
        return;
      case "engine restarts":
        this.#engine(this.#pod(s.pod), false);
        this.#pod(s.pod).engine.restart();
        this.#engine(this.#pod(s.pod), true);
        return;
      case "sidecar restarts":
        this.#pod(s.pod).runtime.restart();
        return;
      case "ill":
        this.#pod(s.pod).runtime.ill = s.ill;
        return;
      case "ready":
        await this.#setReady(s.pod, s.ready);
        if (!s.ready) await this.#leavesSlices(s.pod);
        return;
      case "replace pod":
        await this.#unmake(s.pod);
        await this.#make(s.pod);
        return;
      case "relabel pod":
        await this.#relabel(s.pod, s.matches);
        return;
      case "Secret":
        await this.#secret(s.there);
        return;
      case "controller restarts":
        await this.#controller?.stop();
        await this.#start();
        return;
      case "look": {
        const before = (await this.#controller?.turns()) ?? 0;
        if (this.#declared.size === 0) return;
        for (const name of this.#declared.keys()) await this.#touch(name);
        await until("the controller has looked", async () => ((await this.#controller?.turns()) ?? 0) > before);
      }
    }
  }

  /** Ends everything that is wrong, and waits until all is as it is declared. */
  async heal(): Promise<void> {
    await this.#secret(true);
    for (const p of PODS) {
      const { runtime } = this.#pod(p);
      runtime.ill = undefined;
      this.#engine(this.#pod(p), true);
      await this.#relabel(p, true);
      await this.#setReady(p, true);
    }
    // What was refused for good waits for an edit.
    for (const [name, { replicas }] of this.#declared) {
      this.#declared.set(name, { url: "final", replicas });
      await this.#apply(name);
    }
    for (const name of NAMES) await until(`${this.namespace}/${name} is as declared`, () => this.#isAsDeclared(name), HEALED_MS, 100);
  }

  /** Loads of one name that ran on one engine at once, and calls for one name that one sidecar had at once. */
  doubles(): string[] {
    const all = [...this.#pods.values(), ...this.#former].map((p) => ({ name: p.name, most: Math.max(p.engine.most, p.runtime.most) }));
    return all.filter(({ most }) => most > 1).map(({ name, most }) => `${name} was asked ${most} times at once for one name`);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    for (const p of PODS) this.#pod(p).runtime.ill = undefined;
    for (const name of NAMES)
      if ((await world.get("ModelAdapter", this.#key(name))) !== undefined) await world.remove("ModelAdapter", this.#key(name));
    for (const name of NAMES)
      await until(`${name} is gone`, async () => (await world.get("ModelAdapter", this.#key(name))) === undefined, HEALED_MS);
    await this.#controller?.stop();
    for (const p of PODS) await world.deletePod(this.#pod(p));
  }

  async #isAsDeclared(name: string): Promise<boolean> {
    const declared = this.#declared.get(name);
    const holders = [...this.#pods.values()].filter((p) => this.#serves(p, name, declared?.url));
    if (declared === undefined) {
      if (holders.length > 0) throw new Error(`${name} is still on ${holders.map((p) => p.name)}`);
      return true;
    }
    const status = await adapters.status(this.#key(name));
    const wanted = Math.min(declared.replicas ?? PODS.length, PODS.length);
    const addresses = await adapters.addresses(this.#key(name));
    const seen = { wanted, ready: status?.readyReplicas, holders: holders.map((p) => p.ip).sort(), addresses };
    if (seen.ready !== wanted || holders.length !== wanted || seen.holders.join() !== addresses.join())
      throw new Error(`${JSON.stringify(seen)} ${JSON.stringify(status)}`);
    // What is said of updates is as true: one is decided on, and none is on its way.
    const told = { served: status?.served?.artifactURL, update: status?.update };
    if (told.served !== urlOf(name, declared.url) || told.update !== undefined) throw new Error(JSON.stringify(status));
    return true;
  }

  /** What a pod's engine has: anything under the name, or the content that is at an artifactURL's end. */
  #serves(p: FakePod, name: string, url?: string): boolean {
    const [served, wanted] = this.#isDirect(p)
      ? [p.engine.adapters.get(name), `${name}/${url}`]
      : [p.runtime.servedDigest(name), digestAt(urlOf(name, url))];
    return served !== undefined && (url === undefined || served === wanted);
  }

  /** The next steps may come too soon for the look at the slices. */
  async #leavesSlices(p: string): Promise<void> {
    await until(`no slice holds ${p}`, async () => !(await this.#holds(this.#pod(p))), 10_000);
  }

  async #holds({ ip }: FakePod): Promise<boolean> {
    const slices = await world.admin.list<EndpointSlice>(ENDPOINT_SLICES, { namespace: this.namespace }, AbortSignal.timeout(10_000));
    return slices.some((slice) => slice.endpoints?.some((e) => e.addresses.includes(ip)));
  }

  async #setReady(p: string, ready: boolean): Promise<void> {
    await world.setReady(this.#pod(p), ready);
    this.#ready.set(p, ready);
  }

  /** Reads the slices over and over. */
  async #watch(): Promise<void> {
    const since = new Map<string, number>();
    while (!this.#stop.signal.aborted) {
      const slices: readonly EndpointSlice[] = await world.admin
        .list<EndpointSlice>(ENDPOINT_SLICES, { namespace: this.namespace }, AbortSignal.timeout(10_000))
        .catch(() => []);
      const bad = new Set<string>();
      for (const slice of slices)
        for (const endpoint of slice.endpoints ?? []) {
          const service = slice.metadata.labels?.["kubernetes.io/service-name"] ?? "";
          const p = [...this.#pods.values()].find(({ ip }) => endpoint.addresses.includes(ip));
          if (p === undefined || this.#ready.get(p.name) === false || !this.#serves(p, service))
            bad.add(`${service} at ${endpoint.addresses.join()}`);
        }
      for (const key of since.keys()) if (!bad.has(key)) since.delete(key);
      for (const key of bad) {
        const atMs = since.get(key) ?? performance.now();
        since.set(key, atMs);
        if (performance.now() - atMs > STALE_MS && !this.lies.includes(key)) this.lies.push(key);
      }
      await until("a moment later", () => true, 1_000, 50);
    }
  }

  /** A sidecar tells at once. An engine alone that answers with errors is believed to serve for a while. */
  #engine(p: FakePod, up: boolean): void {
    if (!this.#isDirect(p)) p.runtime.setEngine(up);
    else p.engine.lists = up;
  }

  async #start(): Promise<void> {
    // Of all namespaces: the rights that it is started with are for that, and without one its start takes seconds.
    this.#controller = await world.controller(["--enable-runtime-sidecar", "--drain-grace-period=1s"], TIMING);
  }

  async #make(p: string): Promise<void> {
    const made = await world.pod(p, {
      namespace: this.namespace,
      sidecar: p !== "p2",
      labels: { pool: this.#matching.get(p) === true ? "in" : "out" },
    });
    made.runtime.loadMs = 5;
    made.runtime.answerMs = 10;
    made.runtime.fate = (load) =>
      load.artifact_url.endsWith("/bad") ? { reason: "ArtifactInvalid", message: "it is bad", retryable: false } : "serving";
    made.engine.loadMs = 20;
    made.engine.exists = (path) => !path.endsWith("/bad");
    this.#pods.set(p, made);
    this.#ready.set(p, true);
  }

  async #unmake(p: string): Promise<void> {
    this.#former.push(this.#pod(p));
    await world.deletePod(this.#pod(p));
    await until(
      "the pod is gone",
      async () => (await world.kubectl("get", "pods", "-n", this.namespace, "-o", "name")).includes(`/${p}\n`) === false,
    );
  }

  async #relabel(p: string, matches: boolean): Promise<void> {
    this.#matching.set(p, matches);
    await world.kubectl("label", "pod", p, "-n", this.namespace, `pool=${matches ? "in" : "out"}`, "--overwrite");
  }

  async #secret(there: boolean): Promise<void> {
    const key = `${this.namespace}/store`;
    if (!there) {
      if ((await world.get("Secret", key)) !== undefined) await world.remove("Secret", key);
      return;
    }
    const stringData = { key: `key-${this.#version++}` };
    await world.applyObject({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "store", namespace: this.namespace },
      stringData,
    } as never);
  }

  /** What is applied to an object that is being deleted goes with it. */
  async #apply(name: string): Promise<void> {
    const isLeaving = async () => (await world.get("ModelAdapter", this.#key(name)))?.metadata.deletionTimestamp !== undefined;
    await until(`${name} is gone before it is declared again`, async () => !(await isLeaving()), HEALED_MS);
    await world.applyObject(this.#object(name));
  }

  async #touch(name: string): Promise<void> {
    await world.kubectl("annotate", "modeladapter", name, "-n", this.namespace, `touched=${this.#version++}`, "--overwrite");
  }

  #object(name: string) {
    const { url = "", replicas } = this.#declared.get(name) ?? {};
    const spec = {
      podSelector: { matchLabels: { "model.aibrix.ai/name": BASE, pool: "in" } },
      artifactURL: urlOf(name, url),
      ...(replicas === undefined ? {} : { replicas }),
      ...(name === "b" ? { apiKeySecretRef: { name: "store", key: "key" } } : {}),
    };
    return adapter(name, spec, { namespace: this.namespace });
  }

  #key(name: string): string {
    return `${this.namespace}/${name}`;
  }

  #pod(p: string): FakePod {
    const found = this.#pods.get(p);
    if (found === undefined) throw new Error(`no pod ${p}`);
    return found;
  }

  #isDirect(p: FakePod): boolean {
    return p.name === "p2";
  }
}

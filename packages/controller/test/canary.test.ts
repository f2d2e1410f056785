import { ANNOTATION_ABORT, ANNOTATION_CANARY_WEIGHT, ANNOTATION_PROMOTE } from "@aibrix/api";
import { ENDPOINT_SLICES } from "@aibrix/kube";
import { expect, test } from "vitest";
import { ApiProxy, type Passing } from "./support/api-proxy.ts";
import { adapters, key, made, ns, serves, updated, updatedTo, useNamespaces, world } from "./support/case.ts";
import { digestAt } from "./support/fake-runtime.ts";
import { adapter, type FakePod, type PodOptions, until } from "./support/world.ts";

/*
 * The strategy Canary on a real API server: which pods have which content, what the slices say to the gateways, and what the status says.
 */

const TIMING = { callBackoff: { baseMs: 20, maxMs: 500 }, callSettleMs: 200, directPeriodMs: 100, trialPeriodMs: 50 } as const;
const FLAGS = ["--enable-runtime-sidecar"];
const [ONE, TWO, THREE] = ["s3://models/one", "s3://models/two", "s3://models/three"];
/** Each until somebody promotes it. */
const STEPS = [{ weight: 5 }, { weight: 50 }];

useNamespaces("canary");

async function pods(names: readonly string[], options: PodOptions = {}): Promise<FakePod[]> {
  const all: FakePod[] = [];
  for (const name of names) all.push(await world.pod(name, { namespace: ns, volume: true, ...options }));
  return all;
}

const canary = (steps: readonly object[] = STEPS, more: object = {}, rollout: object = {}) => ({
  rollout: { strategy: "Canary", canary: { steps, ...more }, ...rollout },
});
const declare = (artifactURL: string, spec: Record<string, unknown> = canary(), annotations: Record<string, string> = {}) =>
  world.applyObject(adapter("x", { artifactURL, ...spec }, { namespace: ns, annotations }));
const through = (url: string) => updatedTo(`${url} is served`, (s) => s.served?.artifactURL === url);
const having = (url: string) => made.filter((p) => p.runtime.servedDigest("x") === digestAt(url)).map((p) => p.name);

/** Pods that the gateways are told of, by the weight that is said of them. */
async function listed(): Promise<Record<string, string[]>> {
  const by: Record<string, string[]> = {};
  for (const s of await adapters.slices(key)) {
    const weight = s.metadata.annotations?.[ANNOTATION_CANARY_WEIGHT] ?? "stable";
    const names = (s.endpoints ?? []).map((e) => e.targetRef?.name ?? "");
    if (names.length > 0) by[weight] = [...(by[weight] ?? []), ...names].sort();
  }
  return by;
}

/** Waits until a step's pods serve, and gives what the gateways are told. */
async function step(number: number, weight: number): Promise<Record<string, string[]>> {
  await until(`step ${number} with ${weight} has begun`, async () => {
    const u = (await adapters.status(key))?.update;
    return u?.step === number && u.weight === weight && u.stepTime !== undefined;
  });
  return await listed();
}

test("goes from step to step as somebody promotes it: as few pods as a share wants, in slices of their own that say it", async () => {
  await pods(["a", "b", "c", "d"]);
  const controller = await world.controller(FLAGS, TIMING);
  await declare(ONE);
  await serves(4);
  await declare(TWO);
  expect(await step(1, 5)).toEqual({ "5": ["a"], stable: ["b", "c", "d"] });
  const s = await adapters.condition(key, "Updated", "Unknown", "UpdateOnTrial");
  expect(updated(s)?.message).toMatch(/gets 5 of a hundred requests, step 1 of 2, until it is promoted/);
  expect([s.observedGeneration, s.readyReplicas, s.served?.artifactURL, having(TWO)]).toEqual([1, 4, ONE, ["a"]]);
  // A pod that joins gets what the others have.
  await pods(["e"]);
  await serves(5);
  expect([having(TWO), await listed()]).toEqual([["a"], { "5": ["a"], stable: ["b", "c", "d", "e"] }]);
  await declare(TWO, canary(), { [ANNOTATION_PROMOTE]: "1" });
  expect(await step(2, 50)).toEqual({ "50": ["a", "b", "c"], stable: ["d", "e"] });
  // The same word again asks for nothing.
  await adapters.decided(key, controller);
  expect((await adapters.status(key))?.update?.step).toBe(2);
  await declare(TWO, canary(), { [ANNOTATION_PROMOTE]: "2" });
  const after = await through(TWO);
  expect([having(TWO), await listed()]).toEqual([["a", "b", "c", "d", "e"], { stable: ["a", "b", "c", "d", "e"] }]);
  expect(after).toMatchObject({ observedGeneration: 2, history: [{ artifactURL: TWO, outcome: "Served" }, { artifactURL: ONE }] });
  expect(made.map((p) => p.runtime.swaps.length)).toEqual([1, 1, 1, 1, 1]);
  const events = await until("the steps are told", async () => {
    const told = await adapters.events(key);
    return told.includes("UpdateOnTrial") ? told : undefined;
  });
  // Slices that are written for a step are nobody's edit put back.
  expect(events).not.toContain("Repaired");
});

test("a canary is not through while the other pods are away, and an abort ends it then", async () => {
  const [, , c, d] = await pods(["a", "b", "c", "d"]);
  const controller = await world.controller(FLAGS, TIMING);
  const spec = (duration: string) => canary([{ weight: 50, duration }]);
  await declare(ONE, spec("1h"));
  await serves(4);
  await declare(TWO, spec("1h"));
  expect(await step(1, 50)).toEqual({ "50": ["a", "b"], stable: ["c", "d"] });
  for (const pod of [c, d]) if (pod !== undefined) await world.setReady(pod, false);
  await until("they are out of the slices", async () => (await listed()).stable === undefined);
  // The step's time is over by that.
  await declare(TWO, spec("0s"));
  await adapters.decided(key, controller);
  const s = await adapters.status(key);
  expect([s?.served?.artifactURL, s?.update?.state, s?.update?.step, s?.update?.weight]).toEqual([ONE, "Swapping", 1, 50]);
  expect(updated(s)?.message).toContain(`no pod serves ${ONE} any more`);
  await declare(TWO, spec("0s"), { [ANNOTATION_ABORT]: "1" });
  await adapters.condition(key, "Updated", "False", "UpdateAborted");
  await until("the first ones are back", () => having(ONE).length === 4);
  expect((await adapters.status(key))?.served?.artifactURL).toBe(ONE);
});

test("content that ends its engine has no successor, and is given up once that engine was started anew", async () => {
  const [a] = await pods(["a", "b", "c"]);
  const controller = await world.controller(FLAGS, TIMING);
  await declare(ONE);
  await serves(3);
  await declare(TWO);
  await step(1, 5);
  if (a === undefined) throw new Error("no pod");
  a.runtime.setEngine(false);
  await world.setReady(a, false);
  await until("it is told", async () =>
    updated(await adapters.status(key))?.message.includes("pod a was given the new content and does not serve now"),
  );
  await adapters.decided(key, controller);
  expect([made.map((p) => p.runtime.swaps.length), await listed()]).toEqual([[1, 0, 0], { stable: ["b", "c"] }]);
  a.runtime.setEngine(true);
  await world.setReady(a, true, new Date());
  const s = await adapters.condition(key, "Updated", "False", "UpdateAborted");
  expect(updated(s)?.message).toContain("the engine of pod a was started anew");
  await until("it is back", async () => having(ONE).length === 3 && (await listed()).stable?.length === 3);
});

test("goes from step to step by their durations, and stays at a last one of 100 for its own", async () => {
  await pods(["a", "b"]);
  await world.controller(FLAGS, TIMING);
  const spec = canary([{ weight: 10, duration: "1s" }, { weight: 50, duration: "0s" }, { weight: 100 }]);
  await declare(ONE, spec);
  await serves(2);
  await declare(TWO, spec);
  expect(await step(1, 10)).toEqual({ "10": ["a"], stable: ["b"] });
  expect(await step(3, 100)).toEqual({ stable: ["a", "b"] });
  const s = await adapters.status(key);
  expect([having(TWO), s?.served?.artifactURL, updated(s)?.status]).toEqual([["a", "b"], ONE, "Unknown"]);
  await declare(TWO, spec, { [ANNOTATION_PROMOTE]: "1" });
  await through(TWO);
});

test("an abort sends nobody to the canary any more, brings the old content back, and is not taken back by itself", async () => {
  await pods(["a", "b", "c"]);
  const controller = await world.controller(FLAGS, TIMING);
  await declare(ONE);
  await serves(3);
  await declare(TWO);
  await step(1, 5);
  for (const { runtime } of made) runtime.held.add("x");
  await declare(TWO, canary(), { [ANNOTATION_ABORT]: "1" });
  const s = await adapters.condition(key, "Updated", "False", "UpdateAborted");
  expect(updated(s)?.message).toContain(`the annotation ${ANNOTATION_ABORT} was set to "1"`);
  expect(s.update).toMatchObject({ state: "Failed", reason: "UpdateAborted", weight: 0 });
  expect(s.history?.map((h) => [h.artifactURL, h.outcome])).toEqual([
    [TWO, "Aborted"],
    [ONE, "Served"],
  ]);
  // It waits for its requests, and gets no new ones.
  await until("it goes back", () => made[0]?.runtime.loads.at(-1)?.artifact_url === ONE);
  expect((await listed())["5"]).toBeUndefined();
  made[0]?.runtime.release("x");
  await until("all are back", async () => having(ONE).length === 3 && (await listed()).stable?.length === 3);
  await until("UpdateAborted is told", async () => (await adapters.events(key)).includes("UpdateAborted"));
  for (const { runtime } of made) runtime.held.clear();
  await adapters.decided(key, controller);
  await controller.stop();
  const next = await world.controller(FLAGS, TIMING);
  await adapters.decided(key, next);
  expect([having(TWO), (await adapters.status(key))?.update?.state]).toEqual([[], "Failed"]);
  await declare(THREE, canary(), { [ANNOTATION_ABORT]: "1" });
  expect(await step(1, 5)).toEqual({ "5": ["a"], stable: ["b", "c"] });
  expect(having(THREE)).toEqual(["a"]);
});

test("a rolling update swaps as many pods at a time as it may, and always leaves one", async () => {
  await pods(["a", "b", "c"]);
  await world.controller(FLAGS, TIMING);
  const spec = { rollout: { rollingUpdate: { maxUnavailable: 9 } } };
  await declare(ONE, spec);
  await serves(3);
  for (const { runtime } of made) runtime.held.add("x");
  await declare(TWO, spec);
  const told = () => made.filter((p) => p.runtime.loads.at(-1)?.artifact_url === TWO).map((p) => p.name);
  await until("two are told", () => told().length === 2);
  expect([told(), await listed()]).toEqual([["a", "b"], { stable: ["c"] }]);
  for (const { runtime } of made.slice(0, 2)) runtime.release("x");
  await until("the last one is told", () => told().length === 3);
  expect((await listed()).stable).toEqual(["a", "b"]);
  made[2]?.runtime.release("x");
  await through(TWO);
});

test("an abort ends a rolling update too, whatever is on its way", async () => {
  await pods(["a", "b"]);
  await world.controller(FLAGS, TIMING);
  await declare(ONE, {});
  await serves(2);
  for (const { runtime } of made) runtime.held.add("x");
  await declare(TWO, {});
  await until("the first pod is swapped", () => made[0]?.runtime.loads.at(-1)?.artifact_url === TWO);
  await declare(TWO, {}, { [ANNOTATION_ABORT]: "now" });
  await adapters.condition(key, "Updated", "False", "UpdateAborted");
  for (const { runtime } of made) {
    runtime.release("x");
  }
  await until("all are back", async () => having(ONE).length === 2 && (await listed()).stable?.length === 2);
});

test("a pause holds the step, a promotion too, until it ends; a rolling update swaps no further pod", async () => {
  await pods(["a", "b", "c"]);
  const controller = await world.controller(FLAGS, TIMING);
  const steps = [{ weight: 5, duration: "0s" }, { weight: 40 }];
  const paused = canary(steps, {}, { paused: true });
  await declare(ONE, paused);
  await serves(3);
  await declare(TWO, paused);
  await adapters.condition(key, "Updated", "Unknown", "UpdatePaused");
  await adapters.decided(key, controller);
  expect(having(TWO)).toEqual([]);
  await declare(TWO, canary([{ weight: 5 }, { weight: 40 }]));
  await step(1, 5);
  await declare(TWO, paused, { [ANNOTATION_PROMOTE]: "1" });
  await adapters.condition(key, "Updated", "Unknown", "UpdatePaused");
  await adapters.decided(key, controller);
  expect([having(TWO), await listed()]).toEqual([["a"], { "5": ["a"], stable: ["b", "c"] }]);
  await declare(TWO, canary([{ weight: 5 }, { weight: 40 }]), { [ANNOTATION_PROMOTE]: "1" });
  expect(await step(2, 40)).toEqual({ "40": ["a", "b"], stable: ["c"] });
  // The other strategy goes on with all pods, one after the other.
  await declare(TWO, { rollout: { paused: true } });
  await adapters.condition(key, "Updated", "Unknown", "UpdatePaused");
  await adapters.decided(key, controller);
  expect(having(TWO)).toEqual(["a", "b"]);
  await declare(TWO, {});
  await through(TWO);
});

test("one pod is no canary: it is told so and waits, until there is another one", async () => {
  await pods(["a"]);
  await world.controller(FLAGS, TIMING);
  await declare(ONE);
  await serves(1);
  await declare(TWO);
  const s = await adapters.condition(key, "Updated", "False", "CanaryNeedsPods");
  expect(updated(s)?.message).toMatch(/needs two pods that serve the adapter, and there is one/);
  expect([s.readyReplicas, s.phase, having(ONE), await listed()]).toEqual([1, "Running", ["a"], { stable: ["a"] }]);
  await pods(["b"]);
  expect(await step(1, 5)).toEqual({ "5": ["a"], stable: ["b"] });
});

test("a canary that is lost gets a successor, an edit in the middle begins anew, and one that is taken back ends it", async () => {
  const [a] = await pods(["a", "b", "c"]);
  await world.controller(FLAGS, TIMING);
  await declare(ONE);
  await serves(3);
  await declare(TWO);
  await step(1, 5);
  if (a !== undefined) await world.deletePod(a);
  await until("another pod is on trial", async () => (await listed())["5"]?.join() === "b" && (await listed()).stable?.join() === "c");
  await declare(THREE);
  await until("the newer content is on trial", async () => having(THREE).join() === "b" && (await listed())["5"]?.join() === "b");
  expect([having(TWO), (await adapters.status(key))?.update]).toMatchObject([[], { artifactURL: THREE, step: 1 }]);
  for (const { runtime } of made) runtime.held.add("x");
  await declare(ONE);
  await until("it goes back", () => made[0]?.runtime.loads.at(-1)?.artifact_url === ONE);
  // Nobody is sent there meanwhile.
  expect((await listed()).stable).toEqual(["c"]);
  made[0]?.runtime.release("x");
  await until("all are back", async () => having(ONE).length === 2 && (await listed()).stable?.length === 2);
});

test("engines without sidecar have canaries too", async () => {
  const all = await pods(["a", "b", "c"], { sidecar: false, volume: false });
  const has = (path: string) => all.filter((p) => p.engine.adapters.get("x") === path).map((p) => p.name);
  await world.controller([], TIMING);
  await declare("/models/one");
  await serves(3);
  await declare("/models/two");
  expect(await step(1, 5)).toEqual({ "5": ["a"], stable: ["b", "c"] });
  expect(has("/models/two")).toEqual(["a"]);
  await declare("/models/two", canary(), { [ANNOTATION_ABORT]: "1" });
  await until("all are back", async () => has("/models/one").length === 3 && (await listed()).stable?.length === 3);
});

/** A page as a gateway shows it. */
function page(answers: Record<string, number>, namespace = ns, version = "canary"): string {
  const labels = `model="x",namespace="${namespace}",version="${version}"`;
  const total = Object.values(answers).reduce((sum, count) => sum + count, 0);
  return [
    "# TYPE aibrix_gateway_version_responses_total counter",
    ...Object.entries(answers).map(([code, count]) => `aibrix_gateway_version_responses_total{${labels},code="${code}"} ${count}`),
    `aibrix_gateway_version_response_seconds_bucket{le="0.1",${labels}} ${total / 2}`,
    `aibrix_gateway_version_response_seconds_bucket{le="1",${labels}} ${total}`,
    `aibrix_gateway_version_response_seconds_bucket{le="+Inf",${labels}} ${total}`,
    "",
  ].join("\n");
}

/** Gateways that show what a test says. */
async function gateways(...ips: string[]): Promise<{ pages: Map<string, string>; asked: Map<string, number>; end: () => Promise<void> }> {
  const pages = new Map<string, string>();
  const asked = new Map<string, number>();
  for (const ip of ips) {
    world.pods.put(ip, 8080, {
      answer({ path }, reply) {
        asked.set(ip, (asked.get(ip) ?? 0) + 1);
        reply.writeHead(path === "/metrics" ? 200 : 404).end(pages.get(ip) ?? "");
      },
    });
  }
  const name = { namespace: "aibrix-system", name: "aibrix-gateway-plugins-1" };
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...name, labels: { "kubernetes.io/service-name": "aibrix-gateway-plugins" } },
    addressType: "IPv4" as const,
    endpoints: ips.map((ip) => ({ addresses: [ip] })),
    ports: [{ name: "grpc", port: 50052, protocol: "TCP" as const }],
  };
  await world.admin.apply(ENDPOINT_SLICES, slice, {}, AbortSignal.timeout(10_000));
  return {
    pages,
    asked,
    end: async () => {
      for (const ip of ips) world.pods.put(ip, 8080, undefined);
      await world.admin.delete(ENDPOINT_SLICES, name, {}, AbortSignal.timeout(10_000));
    },
  };
}

test("too many errors of the new content end it, summed over the gateways and counted from the step's beginning", async () => {
  await pods(["a", "b", "c"]);
  const [one, two] = ["10.99.0.1", "10.99.0.2"];
  const { pages, asked, end } = await gateways(one, two);
  const controller = await world.controller(FLAGS, TIMING);
  const spec = canary(STEPS, { abortOn: { errorPercent: 15, minRequests: 100 } });
  // Of before, of others, and of the old content: none of it counts.
  const noise = page({ "500": 1_000 }, "other") + page({ "500": 1_000 }, ns, "stable");
  for (const ip of [one, two]) pages.set(ip, page({ "200": 10, "500": 900 }) + noise);
  await declare(ONE, spec);
  await serves(3);
  expect(asked.size).toBe(0);
  await declare(TWO, spec);
  await step(1, 5);
  const more = async (ip: string, count: number) => {
    const before = asked.get(ip) ?? 0;
    await until(`${ip} was asked ${count} times more`, () => (asked.get(ip) ?? 0) >= before + count);
  };
  await more(one, 3);
  await more(two, 3);
  // Few are not judged, 6 % are not too many; mistakes of clients are no errors, and those that left are not counted.
  pages.set(one, page({ "200": 40, "400": 30, "500": 908, error: 40 }) + noise);
  await more(one, 3);
  pages.set(two, page({ "200": 70, "500": 900 }) + noise);
  await more(two, 3);
  await adapters.decided(key, controller);
  expect((await adapters.status(key))?.update).toMatchObject({ step: 1, state: "Swapping" });
  // A gateway that was started anew counts from nothing.
  pages.set(two, page({ "200": 1, error: 5, "503": 20 }) + noise);
  const s = await adapters.condition(key, "Updated", "False", "UpdateAborted");
  expect(updated(s)?.message).toMatch(/28 of 149 responses of the new content were errors/);
  await until("all are back", async () => having(ONE).length === 3 && (await listed()).stable?.length === 3);
  // Nobody is asked any more.
  await until("it has ended", async () => {
    const before = [...asked.values()].join();
    await adapters.decided(key, controller);
    return [...asked.values()].join() === before;
  });
  await end();
});

test("that thresholds end it is written down first, and not forgotten where that fails", async () => {
  await using proxy = await ApiProxy.start(world.plane);
  await pods(["a", "b", "c"]);
  const ip = "10.99.0.4";
  const { pages, asked, end } = await gateways(ip);
  await world.controller(FLAGS, TIMING, proxy);
  const spec = canary(STEPS, { abortOn: { errorPercent: 15 } });
  pages.set(ip, page({ "200": 0 }));
  await declare(ONE, spec);
  await serves(3);
  await declare(TWO, spec);
  await step(1, 5);
  await until("it was asked", () => (asked.get(ip) ?? 0) >= 2);
  const writes: string[] = [];
  const what = ({ method, path, body }: Passing) => {
    if (method === "GET") return undefined;
    if (path.includes("/endpointslices")) return "slices";
    return path.endsWith("/modeladapters/x/status") && body.includes("UpdateAborted") ? "status" : undefined;
  };
  proxy.judge = (call) => {
    const of = what(call);
    if (of === undefined) return undefined;
    writes.push(of);
    return { code: 500, reason: "InternalError", message: "not now" };
  };
  pages.set(ip, page({ "500": 20 }));
  await until("it could not be written", () => writes.filter((w) => w === "status").length >= 2 && writes.includes("slices"));
  expect([writes[0], (await adapters.status(key))?.update?.state]).toEqual(["status", "Swapping"]);
  // Without slices the end is told all the same.
  proxy.judge = (call) => (what(call) === "slices" ? { code: 500, reason: "InternalError", message: "not now" } : undefined);
  await until("it is written", async () => (await adapters.status(key))?.update?.state === "Failed");
  expect((await adapters.status(key))?.history?.[0]).toMatchObject({ artifactURL: TWO, outcome: "Aborted" });
  proxy.judge = () => undefined;
  await until("all are back", async () => having(ONE).length === 3 && (await listed()).stable?.length === 3);
  await adapters.condition(key, "Updated", "False", "UpdateAborted");
  // As long as the proxy is there.
  await adapters.remove(key);
  await world.stopControllers();
  await end();
});

test("answers that are too slow end it, and gateways that cannot be asked end nothing", async () => {
  await pods(["a", "b"]);
  const ip = "10.99.0.3";
  const controller = await world.controller(FLAGS, TIMING);
  const spec = canary(STEPS, { abortOn: { latencyP95: "100ms" } });
  await declare(ONE, spec);
  await serves(2);
  await declare(TWO, spec);
  await step(1, 5);
  await until("it is told that nobody can be asked", () => controller.warnings.some((w) => w.includes("--gateway-metrics-service")));
  expect((await adapters.status(key))?.update?.state).toBe("Swapping");
  const { pages, asked, end } = await gateways(ip);
  pages.set(ip, page({ "200": 0 }));
  await until("it was asked", () => (asked.get(ip) ?? 0) >= 2);
  pages.set(ip, page({ "200": 40 }));
  const s = await adapters.condition(key, "Updated", "False", "UpdateAborted");
  expect(updated(s)?.message).toMatch(
    /20 of 40 requests to the new content had a response begin within 100 ms, fewer than 95 of a hundred/,
  );
  await end();
});

test.each([
  { name: "Canary without steps", rollout: { strategy: "Canary" }, says: /belong together/ },
  { name: "steps without Canary", rollout: { canary: { steps: STEPS } }, says: /belong together/ },
  { name: "weights that fall", rollout: { strategy: "Canary", canary: { steps: [{ weight: 50 }, { weight: 5 }] } }, says: /may not fall/ },
  { name: "no threshold", rollout: { strategy: "Canary", canary: { steps: STEPS, abortOn: {} } }, says: /needs a threshold/ },
  {
    name: "rollingUpdate beside Canary",
    rollout: { strategy: "Canary", canary: { steps: STEPS }, rollingUpdate: {} },
    says: /is for the strategy RollingUpdate/,
  },
  { name: "weight 0", rollout: { strategy: "Canary", canary: { steps: [{ weight: 0 }] } }, says: /weight/ },
  { name: "a duration without unit", rollout: { strategy: "Canary", canary: { steps: [{ weight: 1, duration: "5" }] } }, says: /duration/ },
])("a rollout with $name is refused by the API server", async ({ rollout, says }) => {
  await expect(declare(ONE, { rollout })).rejects.toThrow(says);
});

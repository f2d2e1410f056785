import { ANNOTATION_CANARY_WEIGHT } from "@aibrix/api";
import { type EndpointSlice, KubeError, type Log } from "@aibrix/kube";
import { expect, test, vi } from "vitest";
import { Placements } from "../cache/placements.ts";
import { Overcommitment } from "../pods/overcommitment.ts";
import type { Health } from "./canary.ts";
import { Memories } from "./memory.ts";
import { type ReconcileDeps, reconcile } from "./reconcile.ts";
import { BOUNDS, type ModelAdapterObject } from "./types.ts";

const TIME = "2026-01-01T12:00:00.000Z";
const ADAPTER: ModelAdapterObject = {
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: { name: "x", namespace: "default", uid: "u", generation: 2, finalizers: ["adapter.model.aibrix.ai/finalizer"] },
  spec: {
    artifactURL: "s3://models/two",
    podSelector: {},
    rollout: { strategy: "Canary", canary: { steps: [{ weight: 5 }], abortOn: { errorPercent: 5 } } },
  },
  status: {
    observedGeneration: 1,
    served: { artifactURL: "s3://models/one", resolvedTime: TIME },
    update: {
      artifactURL: "s3://models/two",
      fingerprint: "2 ",
      state: "Swapping",
      contentDigest: "sha256:2",
      startTime: TIME,
      step: 1,
      weight: 5,
      stepTime: TIME,
    },
  },
};
const STEP = `${Date.parse(TIME)} 1 5`;
const SLICE: EndpointSlice = {
  metadata: { name: "x-ipv4-8000-canary-0", namespace: "default", annotations: { [ANNOTATION_CANARY_WEIGHT]: "5" } },
  addressType: "IPv4",
  endpoints: [],
  ports: [{ name: "http", port: 8000, protocol: "TCP" }],
};
const GOOD: Health = { responses: 100, errors: 0, timed: 0, within: new Map(), recent: undefined };

/** An adapter that no pod has, whose writes are told in their order. */
function world(health: Health, taken: (write: string) => boolean | "conflict") {
  const writes: string[] = [];
  const write = async (what: string): Promise<ModelAdapterObject> => {
    writes.push(what);
    const outcome = taken(what);
    if (outcome === "conflict") throw new KubeError("somebody else was faster", { status: 409, reason: "Conflict" });
    if (!outcome) throw new KubeError("not now", { status: 500, reason: "InternalError" });
    return ADAPTER;
  };
  const statuses: NonNullable<ModelAdapterObject["status"]>[] = [];
  const trials = { health: (_key: string, step: string) => (step === STEP ? health : undefined), follow: vi.fn(), unfollow: vi.fn() };
  const log: Log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const object = { metadata: { name: "x", namespace: "default" } };
  const deps = {
    caches: {
      adapters: { get: () => ADAPTER, byIndex: () => [] },
      pods: { byIndex: () => [] },
      podsOf: () => [],
      services: { get: () => undefined },
      slices: { byIndex: () => [SLICE] },
    },
    client: {
      create: async () => await write("service").then(() => object),
      apply: async () => await write("slice").then(() => object),
      delete: async () => void (await write("slice")),
    },
    memories: new Memories(),
    placements: new Placements(),
    overcommitment: new Overcommitment(),
    secrets: { forAdapter: async () => ({ kind: "ok", credentials: undefined, apiKey: undefined, version: "" }) },
    statuses: {
      known: (s: unknown) => s,
      write: async (_: unknown, next: NonNullable<ModelAdapterObject["status"]>) => {
        statuses.push(next);
        return await write(`status ${next.update?.state}, Updated ${next.conditions?.find((c) => c.type === "Updated")?.status}`);
      },
    },
    events: { record: vi.fn() },
    requeueAfter: vi.fn(),
    bounds: BOUNDS,
    probe: "off",
    trials,
    log,
  } as unknown as ReconcileDeps;
  return { writes, statuses, trials, turn: () => reconcile("default/x", deps, AbortSignal.timeout(5_000)) };
}

test("what a step's gateways count is followed once the step is told", async () => {
  const { trials, turn } = world(GOOD, () => true);
  await turn();
  expect(trials.follow).toHaveBeenCalledWith("default/x", { namespace: "default", model: "x", step: STEP });
  expect(trials.unfollow).not.toHaveBeenCalled();
});

test("that thresholds end an update is written down before the gateways are told", async () => {
  const { writes, trials, turn } = world({ ...GOOD, errors: 50 }, () => true);
  await turn();
  expect([writes[0], writes.includes("slice")]).toEqual(["status Failed, Updated False", true]);
  expect(trials.unfollow).toHaveBeenCalled();
});

test("what was counted is kept until the end of an update is written down", async () => {
  let up = false;
  const { writes, trials, turn } = world({ ...GOOD, errors: 50 }, (write) => up || !write.startsWith("status"));
  await expect(turn()).rejects.toThrow("not now");
  // Nobody is sent there all the same.
  expect([writes.includes("slice"), trials.unfollow.mock.calls.length]).toEqual([true, 0]);
  up = true;
  await turn();
  expect(trials.unfollow).toHaveBeenCalled();
});

test("slices that cannot be written keep no end from being written down", async () => {
  const { writes, turn } = world({ ...GOOD, errors: 50 }, (write) => write !== "slice");
  await expect(turn()).rejects.toThrow("not now");
  await expect(turn()).rejects.toThrow("not now");
  const ofSecond = writes.slice(writes.lastIndexOf("slice", writes.length - 2));
  expect(ofSecond).toContain("status Failed, Updated False");
  expect(writes).not.toContain("status Failed, Updated Unknown");
});

test.each([
  { name: "the Service's conflict alone", slice: true, hidden: false },
  { name: "slices beside it", slice: false, hidden: true },
  { name: "a conflict of the slices beside it", slice: "conflict" as const, hidden: true },
])("what could not be written hides nothing else that could not: $name", async ({ slice, hidden }) => {
  const { statuses, turn } = world(GOOD, (write) => (write === "service" ? "conflict" : write === "slice" ? slice : true));
  await expect(turn()).rejects.toThrow("somebody else was faster");
  const told =
    statuses
      .at(-1)
      ?.conditions?.map((c) => c.message)
      .join() ?? "";
  expect(told.includes("the API server did not take what the adapter needs there")).toBe(hidden);
});

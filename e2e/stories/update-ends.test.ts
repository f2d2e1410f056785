// New content that ends its engine while it is loaded, under constant streams: it takes one engine of many, and the old content is put back there.
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const UP_MS = 60_000;
const CLIENTS = 8;
const PODS = 3;

// A real vLLM has no content that ends it on purpose; without POD_IP there can be no EndpointSlice.
describe.skipIf(ENGINE === "vllm" || POD_IP === "").each([
  {
    what: "the kubelet tells of the engine's end",
    restarts: "told",
    reason: "UpdateAborted",
    says: /the engine of pod engine-\d was started anew after it was given the new content: look into the log of its run before$/,
  },
  {
    what: "the sidecar alone sees it",
    restarts: "untold",
    reason: "EngineRefused",
    says: /pod engine-\d: the engine ended 2 times while it loaded this content, and does not get it again: look into the log of its run before \(kubectl logs --previous\), and declare other content/,
  },
] as const)("content that ends engines: $what", ({ restarts, reason, says }) => {
  let all: ManagedPods;
  let old: string;

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods: PODS,
      restarts,
      fill: async (root) => {
        for (const seed of [1, 2, 3]) await writeAdapter(`${root}/acme/v${seed}`, { seed });
      },
      engineArgs: async (root) => [`--mock-crash-on-load=${await contentIn(`${root}/acme/v2`, undefined)}`],
    });
    old = await contentIn(all.hubRepo("acme/v1"), undefined);
    await all.declare(NAME, "huggingface://acme/v1");
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  const ends = () => all.pods.map((pod) => pod.restarts);
  const servesOld = async () => {
    const { pods, contentDigest } = await all.status(NAME);
    expect(pods?.map((p) => [p.state, p.contentDigest])).toEqual(Array.from({ length: PODS }, () => ["Serving", contentDigest]));
  };

  test("one engine ends, clients notice nothing, and the update is Failed", async () => {
    const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: UP_MS, interval: 20 });
    await all.declare(NAME, "huggingface://acme/v2");
    await vi.waitFor(async () => expect((await all.status(NAME)).update).toMatchObject({ state: "Failed", reason }), {
      timeout: 2 * UP_MS,
      interval: 50,
    });
    await all.everywhere(NAME);
    await vi.waitFor(servesOld, { timeout: UP_MS, interval: 50 });
    const then = clients.answers.length;
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + 2 * CLIENTS), { timeout: UP_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    expect(clients.answers.filter((a) => contentOf(a.text) !== old)).toEqual([]);
    expect(ends().filter((n) => n > 0)).toHaveLength(1);
    expect(Math.max(...ends())).toBeLessThanOrEqual(2);
    const { conditions = [] } = await all.status(NAME);
    const updated = conditions.find((c) => c.type === "Updated");
    expect(updated).toMatchObject({ status: "False", reason });
    expect(updated?.message).toMatch(/^huggingface:\/\/acme\/v1 \(.*\) goes on being served, for /);
    expect(updated?.message).toMatch(says);
  });

  test("and after it an edit mends it", async () => {
    const before = ends();
    await all.declare(NAME, "huggingface://acme/v3");
    await all.waitFor(NAME, "Ready", 120);
    await all.waitFor(NAME, "Updated", 1);
    expect(ends()).toEqual(before);
  });
});

// An update by the controller, on a real API server: a ModelAdapter is edited under constant streams, on one pod and on two.
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { streamed } from "../support/streams.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const UP_MS = 60_000;
const CLIENTS = 50;

describe.skipIf(ENGINE === "vllm" || POD_IP === "").each([
  { pods: 1, what: "one pod" },
  { pods: 2, what: "two pods" },
])("$what", ({ pods }) => {
  let all: ManagedPods;
  const digests: string[] = [];

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods,
      fill: async (root) => {
        for (const seed of [1, 2]) await writeAdapter(`${root}/acme/v${seed}`, { seed });
      },
    });
    for (const seed of [1, 2]) digests.push(await contentIn(all.hubRepo(`acme/v${seed}`), undefined));
    await all.declare(NAME, "huggingface://acme/v1");
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  test("edits under constant streams: no request fails, each answer is one content's, and none is older once Updated is True", async () => {
    const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
    const since = (ms: number) => clients.answers.filter((a) => a.startedMs > ms);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: UP_MS, interval: 20 });
    await all.declare(NAME, "huggingface://acme/v2");
    // The new generation, not the old one that is Ready, too.
    await all.waitFor(NAME, "Ready", 120);
    const doneMs = performance.now();
    expect(await all.status(NAME)).toMatchObject({ readyReplicas: pods, served: { artifactURL: "huggingface://acme/v2" } });
    await all.waitFor(NAME, "Updated", 1);
    await vi.waitFor(() => expect(since(doneMs).length).toBeGreaterThan(2 * CLIENTS), { timeout: UP_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const [old, fresh] = digests;
    expect(clients.answers.filter((a) => ![old, fresh].includes(contentOf(a.text)))).toEqual([]);
    expect(since(doneMs).filter((a) => contentOf(a.text) !== fresh)).toEqual([]);
    expect(clients.answers.some((a) => contentOf(a.text) === old)).toBe(true);
  });
});

// One slot, so that the contents cannot be in the engine side by side, and loads that take too long for Envoy to bridge: it is 25 s until the swap.
describe.skipIf(ENGINE === "vllm" || POD_IP === "")("one pod whose engine loads slowly", () => {
  let all: ManagedPods;
  const digests: string[] = [];

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods: 1,
      maxLoras: 1,
      fill: async (root) => {
        for (const seed of [1, 2]) await writeAdapter(`${root}/acme/v${seed}`, { seed });
      },
      engineArgs: async () => ["--mock-load-delay-ms=1000", "--mock-token-delay-ms=50"],
    });
    for (const seed of [1, 2]) digests.push(await contentIn(all.hubRepo(`acme/v${seed}`), undefined));
    await all.declare(NAME, "huggingface://acme/v1");
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  test("a stream that outlasts the wait ends on the old content, and requests that are held meanwhile get the new one", async () => {
    const stream = await streamed(all.gateway, NAME, 800);
    const clients = new UpdateClients(all.gateway, NAME, 8);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(8), { timeout: UP_MS, interval: 20 });
    await all.declare(NAME, "huggingface://acme/v2");
    await all.waitFor(NAME, "Ready", 120);
    await all.waitFor(NAME, "Updated", 1);
    const doneMs = performance.now();
    await vi.waitFor(() => expect(clients.answers.filter((a) => a.startedMs > doneMs).length).toBeGreaterThan(8), {
      timeout: UP_MS,
      interval: 20,
    });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const [old, fresh] = digests;
    expect(contentOf(await stream.text())).toBe(old);
    expect(clients.answers.filter((a) => ![old, fresh].includes(contentOf(a.text)))).toEqual([]);
    expect(clients.answers.filter((a) => a.startedMs > doneMs && contentOf(a.text) !== fresh)).toEqual([]);
  });
});

// Pods come and go: slices, status and answers follow, and Ready is never told of what does not answer.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { Witness } from "../support/witness.ts";

const NAME = "qwen-code-lora";

describe("pods of the base model", () => {
  let platform: Platform;
  let witness: Witness;

  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml", "samples/adapter/adapter.yaml");
    await platform.condition(NAME);
    witness = new Witness(platform, NAME);
  });
  afterAll(async () => {
    await witness?.stop();
    await platform?.clear();
  });

  async function settled(pods: number): Promise<void> {
    await vi.waitFor(
      async () => {
        const live = (await platform.pods(BASE_MODEL)).filter((p) => p.metadata.deletionTimestamp === undefined);
        const { status } = await platform.adapter(NAME);
        expect(status).toMatchObject({ readyReplicas: pods });
        expect([...(status?.instances ?? [])].sort()).toEqual(live.map((p) => p.metadata.name).sort());
        expect(live).toHaveLength(pods);
        expect(await platform.addresses(NAME)).toEqual(live.map((p) => p.status.podIP).sort());
      },
      { timeout: READY_MS, interval: 250 },
    );
  }

  test("one that is deleted is replaced, and the adapter is loaded there", async () => {
    const [before] = await platform.pods(BASE_MODEL);
    await platform.kubectl("delete", "pod", before?.metadata.name ?? "", "--wait=false");
    await vi.waitFor(async () => expect((await platform.adapter(NAME)).status?.instances).not.toContain(before?.metadata.name), {
      timeout: READY_MS,
      interval: 100,
    });
    await settled(1);
    expect((await complete(platform.gateway, NAME)).status).toBe(200);
  });

  test("three: all of them serve it", async () => {
    await platform.kubectl("scale", `deployment/${BASE_MODEL}`, "--replicas=3");
    await settled(3);
    for (let i = 0; i < 12; i++) expect((await complete(platform.gateway, NAME)).status).toBe(200);
  });

  test("none: it is not Ready and says why, its Service is empty, and a request is told to come again", async () => {
    await platform.kubectl("scale", `deployment/${BASE_MODEL}`, "--replicas=0");
    await platform.condition(NAME, "Ready=False");
    await settled(0);
    // While the last pod ends, that is the reason.
    expect(await platform.reason(NAME, "NoMatchingPods")).toContain("no pod of the namespace matches");
    expect((await platform.adapter(NAME)).status?.phase).toBe("Pending");
    await vi.waitFor(async () => expect((await complete(platform.gateway, NAME)).status).toBe(503), { timeout: READY_MS, interval: 250 });
  });

  test("one again: it comes back by itself", async () => {
    await platform.kubectl("scale", `deployment/${BASE_MODEL}`, "--replicas=1");
    await platform.condition(NAME);
    expect((await complete(platform.gateway, NAME)).status).toBe(200);
    await settled(1);
  });

  test("nobody saw a Ready that was not so", async () => {
    await witness.stop();
    expect(witness.sawReady).toBeGreaterThan(10);
    expect(witness.sawNotReady).toBeGreaterThan(3);
    expect(witness.lies).toEqual([]);
  });
});

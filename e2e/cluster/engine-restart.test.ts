// An engine crashes in its pod: the kubelet starts it again, and the sidecar puts the adapter back.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ask, complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { weightsOf } from "../support/weights.ts";
import { Witness } from "../support/witness.ts";

const NAME = "qwen-code-lora";

describe.skipIf(ENGINE === "vllm")("an engine that crashes in its pod", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml", "samples/adapter/adapter.yaml");
    await platform.condition(NAME);
  });
  afterAll(() => platform?.clear());

  test("is started again with its adapter, and Ready tells the truth meanwhile", async () => {
    const restarts = async () => (await platform.pods(BASE_MODEL))[0]?.status.containerStatuses?.find((c) => c.name === "vllm-openai");
    const before = (await restarts())?.restartCount ?? 0;
    const [pod] = await platform.pods(BASE_MODEL);
    const witness = new Witness(platform, NAME);
    // The engine ends before it answers: the call fails, whatever it says.
    await platform.podPost(pod?.metadata.name ?? "", 8000, "/mock/crash", "{}").catch(() => undefined);
    await vi.waitFor(async () => expect((await restarts())?.restartCount).toBe(before + 1), { timeout: READY_MS, interval: 250 });
    const digest = await weightsOf("ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora");
    await vi.waitFor(async () => expect((await complete(platform.gateway, NAME)).status).toBe(200), { timeout: READY_MS, interval: 100 });
    expect(await ask(platform.gateway, NAME)).toMatchObject({ model: NAME, digest });
    await platform.condition(NAME);
    // On a busy machine one look of the witness takes seconds.
    await vi.waitFor(() => expect(witness.sawReady).toBeGreaterThan(0), { timeout: READY_MS, interval: 50 });
    await witness.stop();
    expect(witness.lies).toEqual([]);
    expect(await platform.kubectl("get", "events", "--field-selector", `involvedObject.name=${NAME}`)).toMatch(/Repaired/);
  });
});

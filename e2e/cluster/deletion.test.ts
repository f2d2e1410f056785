// An adapter is deleted while streams run through it: they come to their end, and then nobody knows the name.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { BASE_MODEL, withFlags } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { streamed } from "../support/streams.ts";

const NAME = "qwen-code-lora";
const STREAMS = 50;

describe.skipIf(ENGINE === "vllm")("an adapter that is deleted under running streams", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    // Some ten seconds for the 300 tokens of a stream.
    await platform.applyObjects(...withFlags("samples/adapter/base.yaml", "--mock-token-delay-ms=30"));
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition(NAME);
  });
  afterAll(() => platform?.clear());

  test(`${STREAMS} of them: none is broken, and then the name is unknown`, async () => {
    const [pod] = await platform.pods(BASE_MODEL);
    const name = pod?.metadata.name ?? "";
    const alone = await (await streamed(platform.gateway, NAME)).text();
    const streams = await Promise.all(Array.from({ length: STREAMS }, () => streamed(platform.gateway, NAME)));
    let ended = 0;
    const texts = Promise.allSettled(streams.map((s) => s.text().finally(() => ended++)));
    await platform.kubectl("delete", "modeladapter", NAME, "--wait=false");
    await vi.waitFor(async () => expect((await complete(platform.gateway, NAME)).status).not.toBe(200), {
      timeout: READY_MS,
      interval: 50,
    });
    // It is out of service while they run.
    expect(ended).toBeLessThan(STREAMS);
    expect(await texts).toEqual(Array.from({ length: STREAMS }, () => ({ status: "fulfilled", value: alone })));
    await platform.kubectl("wait", "--for=delete", `modeladapter/${NAME}`, `--timeout=${READY_MS / 1000}s`);
    await vi.waitFor(async () => expect((await complete(platform.gateway, NAME)).status).toBe(404), { timeout: READY_MS, interval: 50 });
    const { data } = await platform.podGet<{ data: readonly { id: string }[] }>(name, 8000, "/v1/models");
    expect(data.map((m) => m.id)).toEqual([BASE_MODEL]);
  });
});

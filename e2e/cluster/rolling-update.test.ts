// The engines' Deployment is rolled out anew while clients ask: the adapter is served all along.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";

const NAME = "qwen-code-lora";
const CLIENTS = 4;

/** How Envoy tells that an engine took a request and ended without an answer: by its flag for a connection that the engine closed. */
const CUT = /\((\w+,)*UC(,\w+)*\).*"engine_unavailable"/;

describe.skipIf(ENGINE === "vllm")("a rolling update of the engines", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml", "samples/adapter/adapter.yaml");
    await platform.condition(NAME);
  });
  afterAll(() => platform?.clear());

  test("under traffic: none fails but what the old engine was asked as it ended", async () => {
    const [before] = await platform.pods(BASE_MODEL);
    const stop = new AbortController();
    const failed: string[] = [];
    /** Sent to an engine that took it and ended without an answer: nobody may send it again. */
    const cut: string[] = [];
    let answered = 0;
    const startMs = performance.now();
    const clients = Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        while (!stop.signal.aborted) {
          const answer = await complete(platform.gateway, NAME).catch((error: unknown) => ({ status: 0, body: String(error) }));
          if (answer.status === 200) answered += 1;
          else {
            const list = CUT.test(answer.body) ? cut : failed;
            list.push(`${Math.round(performance.now() - startMs)} ms: ${answer.status} ${answer.body}`);
          }
          // Leaves the machine time for the pods.
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }),
    );
    try {
      await platform.kubectl("rollout", "restart", `deployment/${BASE_MODEL}`);
      await platform.rolledOut(BASE_MODEL);
      await platform.kubectl("wait", "--for=delete", `pod/${before?.metadata.name}`, `--timeout=${READY_MS / 1000}s`);
      await platform.condition(NAME);
      const then = answered;
      await vi.waitFor(() => expect(answered).toBeGreaterThan(then + 100), { timeout: READY_MS, interval: 50 });
    } finally {
      stop.abort();
      await clients;
    }
    console.log(`${answered} requests were answered, ${failed.length} failed, ${cut.length} were cut`);
    expect(failed).toEqual([]);
    expect(cut.length, cut.join("\n")).toBeLessThanOrEqual(CLIENTS);
  });
});

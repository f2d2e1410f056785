// A canary led by the controller, on a real API server and through a real Envoy: shares, answers, metrics, thresholds, a controller that is killed.
import type { ModelAdapterStatus } from "@aibrix/api";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { contentIn, contentOf } from "../support/update-clients.ts";

const NAME = "x-lora";
const UP_MS = 60_000;
/** Requests by which a share is measured, and how many run at a time. */
const REQUESTS = 2_000;
const AT_ONCE = 20;
/** How many standard deviations a share may be off: once in two million runs it is by chance. */
const SIGMAS = 5;
const ABORT = "adapter.model.aibrix.ai/abort";
const PROMOTE = "adapter.model.aibrix.ai/promote";

describe.skipIf(ENGINE === "vllm" || POD_IP === "")("a canary", () => {
  const digests: string[] = [];
  let all: ManagedPods;
  let asked = 0;

  beforeAll(async () => {
    let third = 0;
    all = await ManagedPods.start({
      pods: 2,
      fill: async (root) => {
        for (const seed of [1, 2, 3]) await writeAdapter(`${root}/acme/v${seed}`, { seed });
      },
      // One answer in five of the third content.
      spoils: (answer) => {
        const { choices } = JSON.parse(answer) as { choices: readonly { text: string }[] };
        return contentOf(choices[0]?.text ?? "") === digests[2] && third++ % 5 === 0;
      },
    });
    for (const seed of [1, 2, 3]) digests.push(await contentIn(all.hubRepo(`acme/v${seed}`), undefined));
    await edit("v1");
    await all.everywhere(NAME);
    await vi.waitFor(async () => expect((await complete(all.gateway, NAME)).status).toBe(200), { timeout: UP_MS, interval: 50 });
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  const STEPS = [{ weight: 5 }, { weight: 50 }];
  const edit = (repo: string, canary: object = { steps: STEPS }) =>
    all.declare(NAME, `huggingface://acme/${repo}`, { rollout: { strategy: "Canary", canary } });
  const annotate = (annotation: string) => all.cluster.kubectl("annotate", "modeladapter", NAME, "--overwrite", `${annotation}=${asked++}`);
  const status = (): Promise<ModelAdapterStatus> => all.status(NAME);
  const step = async (number: number, weight: number) => {
    const begun = { step: number, weight, stepTime: expect.any(String) };
    await vi.waitFor(async () => expect((await status()).update).toMatchObject(begun), { timeout: UP_MS, interval: 50 });
  };
  const updated = async (value: string, reason: string) =>
    await vi.waitFor(
      async () => {
        const found = (await status()).conditions?.find((c) => c.type === "Updated");
        expect(found).toMatchObject({ status: value, reason });
        return found?.message ?? "";
      },
      { timeout: UP_MS, interval: 100 },
    );

  /** How often each content answered; `error` of what was no answer of one. */
  async function measure(requests = REQUESTS): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    let left = requests;
    const client = async () => {
      while (left-- > 0) {
        const { status: code, text } = await complete(all.gateway, NAME);
        const by = code === 200 ? contentOf(text) : "error";
        counts.set(by, (counts.get(by) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, client));
    return counts;
  }

  /** Waits until the gateway has seen the slices of a step: from then on its answers are measured. */
  const reached = async (digest: string | undefined) =>
    await vi.waitFor(async () => expect([...(await measure(AT_ONCE)).keys()]).toContain(digest), { timeout: UP_MS, interval: 50 });

  /** What the gateway counted, by version, and by status too where its page has it. */
  async function counted(): Promise<Record<string, number>> {
    const page = await (await fetch(all.gatewayMetrics)).text();
    const counts: Record<string, number> = {};
    for (const line of page.split("\n").filter((l) => l.includes(`model="${NAME}"`))) {
      const [, version] = /version="(\w+)"/.exec(line) ?? [];
      const [, code] = /code="(\w+)"/.exec(line) ?? [];
      const value = Number(line.slice(line.lastIndexOf(" ") + 1));
      if (line.startsWith("aibrix_gateway_version_requests_total")) counts[`${version}`] = value;
      if (line.startsWith("aibrix_gateway_version_responses_total")) counts[`${version} ${code}`] = value;
    }
    return counts;
  }

  const expectShare = (canary: number, total: number, weight: number) => {
    const share = weight / 100;
    const off = Math.abs(canary - total * share) / Math.sqrt(total * share * (1 - share));
    console.log(`at ${weight} %: ${canary} of ${total} requests, ${off.toFixed(2)} standard deviations off`);
    expect(off).toBeLessThan(SIGMAS);
  };

  test("each step sends its share to the new content, every answer is wholly one content's, and the gateway counts them by version", async () => {
    const [old = "", fresh = ""] = digests;
    await edit("v2");
    await step(1, 5);
    await reached(fresh);
    const before = await counted();
    const five = await measure();
    const after = await counted();
    expect([...five.keys()].sort()).toEqual([old, fresh].sort());
    expectShare(five.get(fresh) ?? 0, REQUESTS, 5);
    const more = (key: string) => (after[key] ?? 0) - (before[key] ?? 0);
    expect([more("canary"), more("stable")]).toEqual([five.get(fresh), five.get(old)]);
    expect([more("canary 200"), more("stable 200")]).toEqual([five.get(fresh), five.get(old)]);
    // Somebody else leads from here on.
    const { update } = await status();
    await all.killController();
    expect([...(await measure(100)).keys()]).not.toContain("error");
    all.startController();
    await annotate(PROMOTE);
    await step(2, 50);
    expect((await status()).update?.stepTime).not.toBe(update?.stepTime);
    await vi.waitFor(async () => expect((await measure(100)).get(fresh)).toBeGreaterThan(25), { timeout: UP_MS });
    const half = await measure();
    expect([...half.keys()].sort()).toEqual([old, fresh].sort());
    expectShare(half.get(fresh) ?? 0, REQUESTS, 50);
    await annotate(PROMOTE);
    await updated("True", "Updated");
    expect(await measure(200)).toEqual(new Map([[fresh, 200]]));
  });

  test("one error in five ends it within the step, and the old content answers all again", async () => {
    const [, fresh = "", bad = ""] = digests;
    await edit("v3", { steps: [{ weight: 25, duration: "10m" }, { weight: 50 }], abortOn: { errorPercent: 10, minRequests: 50 } });
    await step(1, 25);
    let message = "";
    const users = (async () => {
      while (message === "") await measure(AT_ONCE);
    })();
    try {
      message = await updated("False", "UpdateAborted");
    } finally {
      message ||= "none";
      await users;
    }
    expect(message).toMatch(/\d+ of \d+ responses of the new content were errors/);
    console.log(message);
    const { update, history } = await status();
    expect(update).toMatchObject({ state: "Failed", step: 1, weight: 0 });
    expect(history?.[0]).toMatchObject({ artifactURL: "huggingface://acme/v3", outcome: "Aborted" });
    expect(all.spoilt).toBeGreaterThan(0);
    await vi.waitFor(async () => expect((await measure(AT_ONCE)).get(bad)).toBeUndefined(), { timeout: UP_MS });
    expect(await measure(200)).toEqual(new Map([[fresh, 200]]));
    expect((await status()).update?.state).toBe("Failed");
  });

  test("an abort by annotation leaves nobody with the new content", async () => {
    const [old = "", fresh = ""] = digests;
    await edit("v1");
    await step(1, 5);
    await reached(old);
    await annotate(ABORT);
    await updated("False", "UpdateAborted");
    await vi.waitFor(async () => expect(await measure(200)).toEqual(new Map([[fresh, 200]])), { timeout: UP_MS });
  });
});

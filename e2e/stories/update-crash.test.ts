// The controller ends while new content answers its prompts: the checks go on without it, and another controller goes on with the update.
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const UP_MS = 60_000;

describe.skipIf(ENGINE === "vllm" || POD_IP === "")("the controller is killed while new content is checked", () => {
  let all: ManagedPods;
  const contents: string[] = [];
  const urlOf = (content: number) => `huggingface://acme/v${content}`;

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods: 2,
      fill: async (root) => {
        for (const i of [0, 1, 2]) await writeAdapter(`${root}/acme/v${i}`, { seed: i + 1 });
      },
    });
    for (const i of [0, 1, 2]) contents.push(await contentIn(all.hubRepo(`acme/v${i}`), undefined));
    await all.declare(NAME, urlOf(0));
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  const setTokenDelay = async (tokenDelayMs: number) => {
    for (const { engineUrl } of all.pods) {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${engineUrl}/mock/settings`, { method: "POST", headers, body: JSON.stringify({ tokenDelayMs }) });
      expect(response.status).toBe(200);
    }
  };
  /** Temporary names that engines have content under. */
  const checked = async () => {
    const lists = await Promise.all(all.pods.map((pod) => all.engineModels(pod)));
    return lists.flatMap((list) => Object.keys(list)).filter((id) => id.includes("@check-"));
  };
  const checks = (contains: string) => ({
    rollout: { checks: [1, 2].map((i) => ({ name: `c${i}`, prompt: `Say ${i}.`, maxTokens: 16, expect: { contains } })) },
  });

  test.each([
    { name: "passes", content: 1, contains: () => contents[1] ?? "", state: "Ready" },
    { name: "fails", content: 2, contains: () => "good morning", state: "Failed" },
  ])("content that $name", async ({ content, contains, state }) => {
    const serves = contents[state === "Failed" ? 1 : 0];
    const clients = new UpdateClients(all.gateway, NAME, 2);
    await setTokenDelay(100);
    await all.declare(NAME, urlOf(content), checks(contains()));
    await vi.waitFor(async () => expect(await checked()).toHaveLength(1), { timeout: UP_MS, interval: 20 });
    await all.killController();
    // It is nobody's but the sidecar's affair.
    await vi.waitFor(async () => expect(await prepared()).toContain(state), { timeout: UP_MS, interval: 50 });
    expect(await checked()).toEqual([]);
    expect(await served()).toEqual(all.pods.map(() => "Serving"));
    await setTokenDelay(0);
    all.startController();
    if (state === "Ready") await all.waitFor(NAME, "Ready", 60);
    await all.waitFor(NAME, state === "Ready" ? "Updated" : "Updated=False", 60);
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const good = state === "Ready" ? [serves, contents[content]] : [serves];
    expect(clients.answers.filter((a) => !good.includes(contentOf(a.text)))).toEqual([]);
    const { served: now, update } = await all.status(NAME);
    expect([now?.artifactURL, update?.reason]).toEqual(state === "Ready" ? [urlOf(content), undefined] : [urlOf(1), "CheckFailed"]);
    expect(await checked()).toEqual([]);
  });

  test("an edit that is taken back ends what was to come next on every pod", async () => {
    expect(await prepared()).toEqual(["Failed"]);
    await all.declare(NAME, urlOf(1));
    await all.waitFor(NAME, "Ready", 60);
    const left = async () => (await snapshots()).flatMap((a) => a?.prepared ?? []);
    await vi.waitFor(async () => expect(await left()).toEqual([]), { timeout: UP_MS, interval: 50 });
    expect(await served()).toEqual(all.pods.map(() => "Serving"));
  });

  const snapshots = async () =>
    await Promise.all(
      all.pods.map(async ({ runtimeUrl }) => {
        const { adapters } = (await (await fetch(`${runtimeUrl}/v1/lora_adapters`)).json()) as {
          adapters: readonly { lora_name: string; state: string; prepared?: { state: string; checks?: number } }[];
        };
        return adapters.find((a) => a.lora_name === NAME);
      }),
    );
  const served = async () => (await snapshots()).map((a) => a?.state);
  /** States of what has answered prompts. */
  const prepared = async () => (await snapshots()).flatMap((a) => (a?.prepared?.checks === undefined ? [] : [a.prepared.state]));
});

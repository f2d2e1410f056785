// Updates on a real vLLM with few slots, under constant streams: it lives, no request fails, and each answer is what one of the adapters says alone.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { ReferenceEngine } from "../support/reference.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
/** With it the cases of an only pod run, too. */
const ASKED = process.env.AIBRIX_E2E_UPDATES;
const UPDATES = Number(ASKED ?? 2);
const CLIENTS = 12;
const ANSWER_MS = 300_000;
const UPDATE_S = 240;
const CONTENTS = 4;
/** New content that cannot be served, of every kind but what a prompt shows. */
const BAD = [
  { what: "truncated weights", url: "huggingface://acme/truncated", reason: "ArtifactInvalid" },
  { what: "a rank that no engine takes", url: "huggingface://acme/rank32", reason: "ArtifactUnfit" },
  { what: "another base model", url: "huggingface://acme/wrong-base", reason: "ArtifactUnfit" },
  { what: "a repository that is not there", url: "huggingface://acme/not-there", reason: "ArtifactNotFound" },
  { what: "another content than its pin", url: `huggingface://acme/v1#sha256=${"0".repeat(64)}`, reason: "ArtifactInvalid" },
  { what: "a repository that is denied", url: "huggingface://acme/gated", reason: "ArtifactDenied" },
];
/** Of the requests of a canary, and how many are counted; a share is off by so many standard deviations once in two million runs. */
const CANARY = { weight: 25, requests: 200, sigmas: 5 };

const CASES = [
  { maxLoras: 1, pods: 2, updates: UPDATES, isLong: false },
  { maxLoras: 1, pods: 1, updates: UPDATES, isLong: true },
  { maxLoras: 2, pods: 1, updates: UPDATES, isLong: true },
  { maxLoras: 4, pods: 1, updates: UPDATES, isLong: true },
];

describe.runIf(ENGINE === "vllm" && POD_IP !== "").each(CASES.filter((c) => !c.isLong || ASKED !== undefined))(
  "--max-loras=$maxLoras, pods: $pods",
  ({ maxLoras, pods, updates }) => {
    let all: ManagedPods;
    let reference: ReferenceEngine;
    /** What each content says alone. */
    const says: string[] = [];
    const urlOf = (content: number) => `huggingface://acme/v${content}`;

    beforeAll(async () => {
      const starting = ManagedPods.start({
        pods,
        maxLoras,
        hubToken: "hf_the-token-of-this-story",
        fill: async (root) => {
          for (let i = 0; i < CONTENTS; i++) await writeAdapter(`${root}/acme/v${i}`, { seed: i + 1 });
          await writeAdapter(`${root}/acme/gated`, { seed: CONTENTS + 1 });
          writeFileSync(join(root, "acme/gated/.gated"), "");
          for (const kind of ["truncated", "rank32", "wrong-base"] as const) await writeBrokenAdapter(`${root}/acme/${kind}`, kind);
        },
      });
      [all, reference] = await ReferenceEngine.beside(starting);
      for (let i = 0; i < CONTENTS; i++) says.push(await contentIn(all.hubRepo(`acme/v${i}`), reference));
      expect(new Set(says).size).toBe(CONTENTS);
      await all.declare(NAME, urlOf(0));
      await all.everywhere(NAME);
    });
    afterAll(async () => {
      await reference?.close();
      await all?.[Symbol.asyncDispose]();
    });

    test(
      `${updates} updates in a row under ${CLIENTS} clients`,
      async () => {
        const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
        await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: ANSWER_MS, interval: 50 });
        const doneMs = [performance.now()];
        try {
          for (let i = 1; i <= updates; i++) {
            await all.declare(NAME, urlOf(i % CONTENTS));
            await all.waitFor(NAME, "Ready", UPDATE_S);
            await all.waitFor(NAME, "Updated", 10);
            doneMs.push(performance.now());
            all.check();
            expect(clients.failures).toEqual([]);
          }
          const then = clients.answers.length;
          await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + 2 * CLIENTS), { timeout: ANSWER_MS, interval: 50 });
        } finally {
          await clients.stop();
        }
        all.check();
        const tookS = Math.round(((doneMs.at(-1) ?? 0) - (doneMs[0] ?? 0)) / 1_000);
        console.log(
          `--max-loras=${maxLoras}, pods: ${pods}: ${updates} updates in ${tookS} s, ${clients.answers.length} answers, ${clients.failures.length} requests failed`,
        );
        expect(clients.failures).toEqual([]);
        expect(clients.answers.filter((a) => !says.includes(contentOf(a.text)))).toEqual([]);
        const older = clients.answers.filter(({ startedMs, text }) => {
          const promised = doneMs.findLastIndex((ms) => ms < startedMs);
          const through = Math.max(promised, 0);
          // Those that follow may be there already; with so few contents the one before is never among them.
          return [through, through + 1, through + 2].every((i) => says[i % CONTENTS] !== contentOf(text));
        });
        expect(older).toEqual([]);
      },
      updates * UPDATE_S * 1_000 + ANSWER_MS,
    );

    test(
      "prompts that new content answers first: it is served where it answers as expected, and else the old one is",
      async () => {
        const prompt = "San Francisco is a";
        const answers = async (content: number) =>
          await reference.answerOf(all.hubRepo(`acme/v${content}`), { prompt, max_tokens: 16, temperature: 0 });
        const [first, second] = [await answers(0), await answers(1)];
        expect(first).not.toBe(second);
        // Of the two contents only one says it.
        const checks = (contains: string) => ({ rollout: { checks: [{ name: "goes-on", prompt, maxTokens: 16, expect: { contains } }] } });
        await all.declare(NAME, urlOf(2));
        await all.waitFor(NAME, "Ready", UPDATE_S);
        await all.declare(NAME, urlOf(0), checks(first));
        await all.waitFor(NAME, "Ready", UPDATE_S);
        await all.waitFor(NAME, "Updated", 10);
        await all.declare(NAME, urlOf(1), checks(first));
        const look = async () => expect((await all.status(NAME)).update).toMatchObject({ state: "Failed", reason: "CheckFailed" });
        await vi.waitFor(look, { timeout: UPDATE_S * 1_000, interval: 100 });
        const { conditions, served } = await all.status(NAME);
        expect(conditions?.find((c) => c.type === "Updated")).toMatchObject({
          status: "False",
          message: expect.stringContaining("check 1 (goes-on) failed: expected a text with "),
        });
        expect(served).toMatchObject({ artifactURL: urlOf(0) });
        const clients = new UpdateClients(all.gateway, NAME, 2);
        await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(2), { timeout: ANSWER_MS, interval: 50 });
        await clients.stop();
        expect(clients.failures).toEqual([]);
        expect(new Set(clients.answers.map((a) => contentOf(a.text)))).toEqual(new Set([says[0]]));
        // And nothing is left of the checks.
        for (const pod of all.pods) expect(Object.keys(await all.engineModels(pod)).filter((id) => id.includes("@"))).toEqual([]);
      },
      3 * UPDATE_S * 1_000,
    );

    test(
      "new content that cannot be served is refused with its reason, and no request meets it or fails",
      async () => {
        await all.declare(NAME, urlOf(0));
        await all.waitFor(NAME, "Ready", UPDATE_S);
        const clients = new UpdateClients(all.gateway, NAME, 2);
        const more = async () => {
          const then = clients.answers.length;
          await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + 2), { timeout: ANSWER_MS, interval: 50 });
        };
        try {
          await more();
          for (const { what, url, reason } of BAD) {
            await all.declare(NAME, url);
            const look = async () =>
              expect((await all.status(NAME)).update, what).toMatchObject({ state: "Failed", artifactURL: url, reason });
            await vi.waitFor(look, { timeout: UPDATE_S * 1_000, interval: 100 });
            await more();
          }
        } finally {
          await clients.stop();
        }
        all.check();
        expect(clients.failures).toEqual([]);
        expect(new Set(clients.answers.map((a) => contentOf(a.text)))).toEqual(new Set([says[0]]));
        expect(await all.status(NAME)).toMatchObject({ phase: "Running", readyReplicas: pods, served: { artifactURL: urlOf(0) } });
      },
      3 * UPDATE_S * 1_000,
    );

    test.runIf(pods > 1)(
      "a canary gets its share, each answer is wholly one content's, and once it is promoted all are the new one's",
      async () => {
        await all.declare(NAME, urlOf(0));
        await all.waitFor(NAME, "Ready", UPDATE_S);
        const { weight, requests, sigmas } = CANARY;
        await all.declare(NAME, urlOf(1), { rollout: { strategy: "Canary", canary: { steps: [{ weight }] } } });
        const begun = async () => expect((await all.status(NAME)).update).toMatchObject({ step: 1, weight, stepTime: expect.any(String) });
        await vi.waitFor(begun, { timeout: UPDATE_S * 1_000, interval: 100 });
        const clients = new UpdateClients(all.gateway, NAME, 8);
        const contents = () => clients.answers.map((a) => contentOf(a.text));
        let first = 0;
        try {
          await vi.waitFor(() => expect(contents()).toContain(says[1]), { timeout: ANSWER_MS, interval: 50 });
          first = clients.answers.length;
          await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(first + requests), { timeout: ANSWER_MS, interval: 50 });
        } finally {
          await clients.stop();
        }
        expect(clients.failures).toEqual([]);
        expect(new Set(contents())).toEqual(new Set([says[0], says[1]]));
        const counted = contents().slice(first);
        const fresh = counted.filter((text) => text === says[1]).length;
        const off = Math.abs(fresh - (counted.length * weight) / 100) / Math.sqrt((counted.length * weight * (100 - weight)) / 10_000);
        console.log(`at ${weight} %: ${fresh} of ${counted.length} requests, ${off.toFixed(2)} standard deviations off`);
        expect(off).toBeLessThan(sigmas);
        await all.cluster.kubectl("annotate", "modeladapter", NAME, "adapter.model.aibrix.ai/promote=1");
        await all.waitFor(NAME, "Updated", UPDATE_S);
        const after = new UpdateClients(all.gateway, NAME, 4);
        await vi
          .waitFor(() => expect(after.answers.length).toBeGreaterThan(8), { timeout: ANSWER_MS, interval: 50 })
          .finally(() => after.stop());
        expect(after.failures).toEqual([]);
        expect(new Set(after.answers.map((a) => contentOf(a.text)))).toEqual(new Set([says[1]]));
      },
      3 * UPDATE_S * 1_000,
    );
  },
);

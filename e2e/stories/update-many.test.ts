// One update after the other on four pods under load: no request fails, no answer is older than what Updated told, and nothing piles up.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

/** Each takes some seconds: a pod leaves the slices a second before its requests count as ended. */
const UPDATES = Number(process.env.AIBRIX_E2E_UPDATES ?? 12);
const PODS = 4;
const CLIENTS = 16;
const NAME = "x-lora";
/** Contents of before that stay in a pod's cache. */
const FORMER = 3;
const UP_MS = 60_000;

describe.skipIf(ENGINE === "vllm" || POD_IP === "")("four pods", () => {
  let all: ManagedPods;
  const urlOf = (i: number) => `huggingface://acme/v${i}`;

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods: PODS,
      fill: async (root) => {
        for (let i = 0; i <= UPDATES; i++) await writeAdapter(`${root}/acme/v${i}`, { seed: i + 1 });
      },
    });
    await all.declare(NAME, urlOf(0));
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  test(
    `${UPDATES} updates in a row`,
    async () => {
      /** The number of the update that gives it. */
      const numberOf = new Map<string, number>();
      for (let i = 0; i <= UPDATES; i++) numberOf.set(await contentIn(all.hubRepo(`acme/v${i}`), undefined), i);
      const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
      await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: UP_MS, interval: 20 });
      /** When each update was told to be through. */
      const doneMs: number[] = [performance.now()];
      for (let i = 1; i <= UPDATES; i++) {
        await all.declare(NAME, urlOf(i));
        await all.waitFor(NAME, "Ready", 120);
        await all.waitFor(NAME, "Updated", 10);
        doneMs.push(performance.now());
        expect(clients.failures).toEqual([]);
      }
      const then = clients.answers.length;
      await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + 2 * CLIENTS), { timeout: UP_MS, interval: 20 });
      await clients.stop();
      all.check();
      expect(clients.failures).toEqual([]);
      const wrong = clients.answers.filter(({ startedMs, text }) => {
        const promised = doneMs.findLastIndex((ms) => ms < startedMs);
        return (numberOf.get(contentOf(text)) ?? -1) < promised;
      });
      expect(wrong).toEqual([]);
      const seen = new Set(clients.answers.map((a) => contentOf(a.text)));
      expect(seen.size).toBe(UPDATES + 1);
      const { contentDigest } = await all.status(NAME);
      for (const pod of all.pods) {
        const { [NAME]: path, ...others } = await all.engineModels(pod);
        expect(Object.keys(others)).toEqual([BASE_MODEL]);
        expect(path).toBe(join(pod.artifacts, NAME, contentDigest?.replace("sha256:", "") ?? ""));
      }
      const kept = () => all.pods.map((p) => readdirSync(join(p.artifacts, NAME)).length);
      const cached = () => all.pods.map((p) => readdirSync(join(p.artifacts, ".cache/contents")).length);
      console.log(
        `${UPDATES} updates in ${Math.round(((doneMs.at(-1) ?? 0) - (doneMs[0] ?? 0)) / 1000)} s, ${clients.answers.length} answers, contents kept: ${kept()}`,
      );
      // A minute after each was replaced no request of it can be left.
      await vi.waitFor(() => expect(kept()).toEqual(all.pods.map(() => 1)), { timeout: 2 * UP_MS, interval: 200 });
      // Files of those that are gone stay for a way back, of the last three alone.
      const bound = Math.min(UPDATES, FORMER) + 1;
      await vi.waitFor(() => expect(cached()).toEqual(all.pods.map(() => bound)), { timeout: UP_MS, interval: 200 });
    },
    UPDATES * 30_000 + 5 * UP_MS,
  );
});

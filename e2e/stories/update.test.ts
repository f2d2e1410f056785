// New weights under an old name, under constant streams: nothing fails, and every answer is the old adapter's or the new one's.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { dropManifest, manifest } from "../support/manifest.ts";
import { ReferenceEngine } from "../support/reference.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const REPOS = ["acme/sql-lora", "acme/chat-lora", "acme/summary-lora"] as const;
type Repo = (typeof REPOS)[number];

const SERVED_MS = ENGINE === "vllm" ? 300_000 : 60_000;
/** On a real engine of two cores fewer of them, unless more are asked for. */
const CLIENTS = Number(process.env.AIBRIX_E2E_CLIENTS ?? (ENGINE === "vllm" ? 6 : 50));
const ENGINE_ARGS = ENGINE === "vllm" ? [] : ["--engine-arg=--max-loras=4"];

/** The same contents are in every stack's Hub. */
let reference: ReferenceEngine | undefined;
afterAll(() => reference?.close());

describe.each([
  { engines: 1, what: "one engine" },
  { engines: 2, what: "two engines" },
])("$what", ({ engines }) => {
  let stack: Stack;
  const expected = new Map<Repo, string>();

  beforeAll(async () => {
    const starting = startStack({
      args: [`--engines=${engines}`, ...ENGINE_ARGS],
      manifests: { "x.yaml": manifest("x-lora", `hf://${REPOS[0]}`) },
    });
    if (ENGINE === "vllm" && reference === undefined) [stack, reference] = await ReferenceEngine.beside(starting);
    else stack = await starting;
    for (const repo of REPOS) expected.set(repo, await contentIn(stack.hubRepo(repo), reference));
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  async function served(repo: Repo): Promise<void> {
    const look = async () => {
      for (let i = 0; i < engines; i++) {
        const entry = (await stack.snapshot(i)).adapters.find((a) => a.lora_name === "x-lora");
        expect(entry).toMatchObject({ state: "Serving", artifact_url: `hf://${repo}` });
      }
    };
    await vi.waitFor(look, { timeout: SERVED_MS, interval: 20 });
  }

  test("an edited artifactURL under constant streams: no request fails, and none gets the old content once the new one is served", async () => {
    await served(REPOS[0]);
    const clients = new UpdateClients(stack.gateway, "x-lora", CLIENTS);
    const answers = (sinceMs: number) => clients.answers.filter((a) => a.startedMs > sinceMs);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: SERVED_MS, interval: 20 });
    dropManifest(stack.adapters, "x.yaml", manifest("x-lora", `hf://${REPOS[1]}`));
    await served(REPOS[1]);
    const doneMs = performance.now();
    await vi.waitFor(() => expect(answers(doneMs).length).toBeGreaterThan(2 * CLIENTS), { timeout: SERVED_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const [old, fresh] = [expected.get(REPOS[0]), expected.get(REPOS[1])];
    const strange = clients.answers.filter((a) => ![old, fresh].includes(contentOf(a.text)));
    expect(strange).toEqual([]);
    expect(answers(doneMs).filter((a) => contentOf(a.text) !== fresh)).toEqual([]);
    expect(clients.answers.some((a) => contentOf(a.text) === old)).toBe(true);
  });

  test("a bad new version changes nothing for clients, and says why", async () => {
    const before = readFileSync(join(stack.adapters, "x.yaml"), "utf8");
    dropManifest(stack.adapters, "x.yaml", manifest("x-lora", "hf://acme/not-there"));
    const look = async () => {
      const entry = (await stack.snapshot()).adapters.find((a) => a.lora_name === "x-lora");
      expect(entry).toMatchObject({ state: "Failed", reason: "ArtifactNotFound", serving: { path: expect.any(String) } });
    };
    await vi.waitFor(look, { timeout: SERVED_MS, interval: 20 });
    const clients = new UpdateClients(stack.gateway, "x-lora", 2);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(4), { timeout: SERVED_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    expect(new Set(clients.answers.map((a) => contentOf(a.text)))).toEqual(new Set([expected.get(REPOS[1])]));
    dropManifest(stack.adapters, "x.yaml", before);
    await served(REPOS[1]);
  });
});

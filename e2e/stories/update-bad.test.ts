// New content that is bad, of every kind, under constant streams: it is refused or rolled back, no request is lost, and the status says what to do.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ManagedPods, POD_IP } from "../support/managed-pods.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const UP_MS = 60_000;
const CLIENTS = 8;
const TOLD_S = 60;

interface Bad {
  readonly what: string;
  readonly url: string;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly reason: string;
  /** Of the condition `Updated`, as a user reads it. */
  readonly says: RegExp;
}

const NEVER = { rollout: { checks: [{ name: "greets", prompt: "Say hello.", expect: { contains: "good morning" } }] } };

const BAD: readonly Bad[] = [
  {
    what: "truncated weights",
    url: "huggingface://acme/truncated",
    reason: "ArtifactInvalid",
    says: /pod engine-0: adapter_model\.safetensors is truncated: it has \d+ bytes, its header asks for \d+; upload the file again$/,
  },
  {
    what: "a rank that no engine takes",
    url: "huggingface://acme/rank32",
    reason: "ArtifactUnfit",
    says: /the adapter has rank 32, the engine takes 16 at most: start the engine with --max-lora-rank 32, or train the adapter with a lower rank$/,
  },
  {
    what: "another base model",
    url: "huggingface://acme/wrong-base",
    reason: "ArtifactUnfit",
    says: /the adapter is for a base model of another size: .* use /,
  },
  {
    what: "a repository that is not there",
    url: "huggingface://acme/not-there",
    reason: "ArtifactNotFound",
    says: /huggingface:\/\/acme\/not-there does not exist on \S+, or is private: check its spelling, or give a token \(credentialsSecretRef with huggingface_token, /,
  },
  {
    what: "another content than its pin",
    url: `huggingface://acme/v2#sha256=${"0".repeat(64)}`,
    reason: "ArtifactInvalid",
    says: /is pinned to other content: what is there has the digest sha256:[0-9a-f]{64}\. Find out who changed it, or write the digest that you expect after #sha256=/,
  },
  {
    what: "a repository that is denied",
    url: "huggingface://acme/gated",
    reason: "ArtifactDenied",
    says: /huggingface:\/\/acme\/gated on \S+ is gated: ask for access on its page, and give a token that has it \(credentialsSecretRef with huggingface_token, /,
  },
  {
    what: "a prompt that it does not answer as expected",
    url: "huggingface://acme/v2",
    spec: NEVER,
    reason: "CheckFailed",
    says: /check 1 \(greets\) failed: expected a text with "good morning" in it, got "\[x-lora@check-/,
  },
  {
    what: "what only the engine refuses",
    url: "huggingface://acme/rank16",
    reason: "EngineRefused",
    says: /the adapter has rank 16, the engine takes at most 8 .*: start the engine with --max-lora-rank 16, or use an adapter of rank 8 or less$/,
  },
];

describe.skipIf(ENGINE === "vllm" || POD_IP === "").each([
  { pods: 1, what: "one pod", ranks: [8] },
  // The first takes what the second refuses, and has to go back.
  { pods: 2, what: "two pods", ranks: [16, 8] },
])("$what", ({ pods, ranks }) => {
  let all: ManagedPods;
  let old: string;
  let fresh: string;

  beforeAll(async () => {
    all = await ManagedPods.start({
      pods,
      ranks,
      toldRank: 16,
      // Longer than Envoy tries again, and than the gateway looks for a model that nothing serves.
      engineArgs: async () => ["--mock-load-delay-ms", "1000"],
      hubToken: "hf_the-token-of-this-story",
      fill: async (root) => {
        for (const seed of [1, 2, 3]) await writeAdapter(`${root}/acme/v${seed}`, { seed });
        await writeAdapter(`${root}/acme/gated`, { seed: 4 });
        writeFileSync(join(root, "acme/gated/.gated"), "");
        for (const kind of ["truncated", "rank16", "rank32", "wrong-base"] as const) await writeBrokenAdapter(`${root}/acme/${kind}`, kind);
      },
    });
    [old, fresh] = [await contentIn(all.hubRepo("acme/v1"), undefined), await contentIn(all.hubRepo("acme/v3"), undefined)];
    await all.declare(NAME, "huggingface://acme/v1");
    await all.everywhere(NAME);
  });
  afterAll(() => all?.[Symbol.asyncDispose]());

  test.each(BAD)("$what: $reason", async ({ url, spec, reason, says }) => {
    const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(CLIENTS), { timeout: UP_MS, interval: 20 });
    await all.declare(NAME, url, spec);
    const failed = async () => {
      const { update } = await all.status(NAME);
      expect(update).toMatchObject({ state: "Failed", artifactURL: url, reason });
    };
    await vi.waitFor(failed, { timeout: TOLD_S * 1_000, interval: 50 });
    // Where one has it already, it goes back.
    await all.everywhere(NAME);
    const status = await all.status(NAME);
    expect(status.pods?.map((p) => p.contentDigest)).toEqual(Array.from({ length: pods }, () => status.contentDigest));
    expect(status).toMatchObject({ phase: "Running", readyReplicas: pods, served: { artifactURL: "huggingface://acme/v1" } });
    await expect(all.waitFor(NAME, "Ready", 1)).rejects.toThrow("timed out");
    const then = clients.answers.length;
    await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + 2 * CLIENTS), { timeout: UP_MS, interval: 20 });
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const contents = clients.answers.map((a) => contentOf(a.text));
    // What only an engine refuses may have been served where another one took it.
    const taken = reason === "EngineRefused" && ranks.includes(16) ? [await contentIn(all.hubRepo("acme/rank16"), undefined)] : [];
    expect(contents.filter((c) => c !== old && !taken.includes(c))).toEqual([]);
    expect(contents.slice(-CLIENTS)).toEqual(Array.from({ length: CLIENTS }, () => old));
    // Not before: while an only pod gets the old content again, nobody serves it.
    const updated = (await all.status(NAME)).conditions?.find((c) => c.type === "Updated");
    expect(updated).toMatchObject({ status: "False", reason });
    expect(updated?.message).toMatch(
      /^huggingface:\/\/acme\/v1 \(.*\) goes on being served, for the new content cannot be: pod engine-\d: /,
    );
    expect(updated?.message).toMatch(says);
  });

  test("and after all of them an edit mends it", async () => {
    const clients = new UpdateClients(all.gateway, NAME, CLIENTS);
    await all.declare(NAME, "huggingface://acme/v3");
    await all.waitFor(NAME, "Ready", 120);
    await all.waitFor(NAME, "Updated", 1);
    await clients.stop();
    expect(clients.failures).toEqual([]);
    expect(clients.answers.filter((a) => ![old, fresh].includes(contentOf(a.text)))).toEqual([]);
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ANNOTATION_REFRESH, type Reason } from "@aibrix/api";
import { describe, expect, test } from "vitest";
import { adapters, key, made, ns, serves, updated, updatedTo, useNamespaces, world } from "./support/case.ts";
import { digestAt } from "./support/fake-runtime.ts";
import { adapter, type FakePod, type PodOptions, until } from "./support/world.ts";

const TIMING = { callBackoff: { baseMs: 20, maxMs: 500 }, callSettleMs: 200, directPeriodMs: 100 } as const;
const FLAGS = ["--enable-runtime-sidecar"];
const [ONE, TWO, BAD] = ["s3://models/one", "s3://models/two", "s3://models/bad"];

useNamespaces("update");

async function pods(names: readonly string[], options: PodOptions = {}): Promise<FakePod[]> {
  const all: FakePod[] = [];
  for (const name of names) {
    const pod = await world.pod(name, { namespace: ns, volume: true, ...options });
    pod.runtime.fate = ({ artifact_url: url }) =>
      url === BAD ? { reason: "ArtifactInvalid", message: "it is cut off", retryable: false } : "serving";
    all.push(pod);
  }
  return all;
}

const declare = (artifactURL: string, annotations: Record<string, string> = {}, spec: Record<string, unknown> = {}) =>
  world.applyObject(adapter("x", { artifactURL, ...spec }, { namespace: ns, annotations }));

const digests = () => made.map((p) => p.runtime.servedDigest("x"));
const through = (digest: string) => updatedTo(`${digest} is served`, (s) => s.contentDigest === digest);
const prepares = () => made.map((p) => p.runtime.prepares.length);

describe("through the sidecar", () => {
  test("new content is fetched by every pod, then swapped pod by pod, out of the slices and back; only then it is Updated", async () => {
    const [a, b, c] = await pods(["a", "b", "c"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    const before = await serves(3);
    expect(before).toMatchObject({ contentDigest: digestAt(ONE), served: { artifactURL: ONE } });
    expect(updated(before)).toBeUndefined();
    const listed: string[][] = [];
    const order: string[] = [];
    for (const p of made) {
      p.runtime.held.add("x");
    }
    await declare(TWO);
    await until("all have it", () => made.every((p) => p.runtime.prepares.some((r) => r.artifact_url === TWO)));
    for (const p of [a, b, c]) {
      const pod = p as FakePod;
      await until(`${pod.name} waits for its requests`, () => pod.runtime.loads.at(-1)?.artifact_url === TWO);
      const s = await adapters.status(key);
      expect([updated(s)?.status, s?.observedGeneration]).toEqual(["Unknown", 1]);
      listed.push(await adapters.addresses(key));
      expect(pod.runtime.loads.at(-1)).toMatchObject({ content: { digest: digestAt(TWO) }, drain_seconds: 30 });
      order.push(pod.name);
      expect(made.filter((q) => q.runtime.loads.at(-1)?.artifact_url === TWO).map((q) => q.name)).toEqual(order);
      pod.runtime.release("x");
    }
    expect(listed).toEqual(
      [a, b, c].map((p) =>
        made
          .filter((q) => q !== p)
          .map((q) => q.ip)
          .sort(),
      ),
    );
    const after = await through(digestAt(TWO));
    expect(after).toMatchObject({ observedGeneration: 2, readyReplicas: 3, served: { artifactURL: TWO } });
    expect(after.history?.map((h) => [h.artifactURL, h.outcome])).toEqual([
      [TWO, "Served"],
      [ONE, "Served"],
    ]);
    expect([digests(), await adapters.addresses(key)]).toEqual([made.map(() => digestAt(TWO)), made.map((p) => p.ip).sort()]);
    await until("Updated is told", async () => (await adapters.events(key)).includes("Updated"));
    // Back again: nothing but the same way.
    await declare(ONE);
    await through(digestAt(ONE));
  });

  test("on a single pod the sidecar finds the moment: nobody is sent there only while its engine has no room for both contents", async () => {
    const [a] = await pods(["a"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(1);
    a?.runtime.held.add("x");
    await declare(TWO);
    await until("it was told", () => a?.runtime.loads.at(-1)?.artifact_url === TWO);
    expect(a?.runtime.loads.at(-1)?.drain_seconds).toBeUndefined();
    await until("nobody is sent there", async () => (await adapters.addresses(key)).length === 0);
    // What the gateway holds requests for.
    const s = await until("that is told", async () => {
      const now = await adapters.status(key);
      return now?.readyReplicas === 0 ? now : undefined;
    });
    expect([s.update?.state, s.pods?.[0]?.state, updated(s)?.reason]).toEqual(["Swapping", "Updating", "UpdateRolling"]);
    expect(s.conditions?.find((c) => c.type === "Ready")).toMatchObject({ status: "False", reason: "ModelAdapterLoading" });
    a?.runtime.release("x");
    expect(await through(digestAt(TWO))).toMatchObject({ readyReplicas: 1 });
    expect(await adapters.addresses(key)).toEqual([a?.ip]);
  });

  test("what is bad is refused before anything is touched, with the reason, and an edit mends it", async () => {
    await pods(["a", "b"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    const loads = made.map((p) => p.runtime.loads.length);
    await declare(BAD);
    const s = await adapters.condition(key, "Updated", "False", "ArtifactInvalid");
    expect(updated(s)?.message).toContain("it is cut off");
    expect(s).toMatchObject({ phase: "Running", observedGeneration: 1, readyReplicas: 2, contentDigest: digestAt(ONE) });
    expect(s.update).toMatchObject({ state: "Failed", artifactURL: BAD });
    expect(made.map((p) => p.runtime.loads.length)).toEqual(loads);
    await until("UpdateFailed is told", async () => (await adapters.events(key)).includes("UpdateFailed"));
    // A pod that joins gets what is served.
    const [c] = await pods(["c"]);
    await serves(3);
    expect([c?.runtime.servedDigest("x"), c?.runtime.prepares]).toEqual([digestAt(ONE), []]);
    await declare(TWO);
    const after = await through(digestAt(TWO));
    expect(after.history?.map((h) => h.outcome)).toEqual(["Served", "Failed", "Served"]);
  });

  test("a pod whose engine refuses it after all brings the old content back everywhere", async () => {
    const [a, b] = await pods(["a", "b"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    if (b !== undefined)
      b.runtime.fate = (load) =>
        load.artifact_url === TWO && !("refresh" in load) && b.runtime.prepares.length > 0 && b.runtime.loads.at(-1)?.artifact_url === TWO
          ? { reason: "EngineRefused", message: "the engine refused it", retryable: false }
          : "serving";
    await declare(TWO);
    const s = await adapters.condition(key, "Updated", "False", "EngineRefused");
    expect(s).toMatchObject({ observedGeneration: 1, contentDigest: digestAt(ONE) });
    await until("all are back", () => digests().every((d) => d === digestAt(ONE)));
    await until("both are listed", async () => (await adapters.addresses(key)).length === 2);
    expect(a?.runtime.swaps).toEqual([`x ${digestAt(TWO)}`, `x ${digestAt(ONE)}`]);
  });

  test("a moving reference is resolved once: also a pod that joins later gets what was decided on, until somebody asks anew", async () => {
    await pods(["a", "b"]);
    for (const { runtime } of made) runtime.revisionAt = () => "commit-1";
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    expect(await adapters.status(key)).toMatchObject({ resolvedRevision: "commit-1" });
    const moved = `sha256:${"2".repeat(16)}`;
    await pods(["c"]);
    for (const { runtime } of made) [runtime.contentAt, runtime.revisionAt] = [() => moved, () => "commit-2"];
    await serves(3);
    expect(digests()).toEqual(made.map(() => digestAt(ONE)));
    expect(await adapters.status(key)).toMatchObject({ resolvedRevision: "commit-1" });
    await declare(ONE, { [ANNOTATION_REFRESH]: "1" });
    const s = await through(moved);
    expect(s).toMatchObject({ served: { artifactURL: ONE, refresh: "1" }, resolvedRevision: "commit-2", readyReplicas: 3 });
    // One pod resolves it, the others are told exactly which one.
    const told = made.map((p) => p.runtime.prepares.at(-1)?.content);
    const decided = { digest: moved, revision: "commit-2" };
    expect(told.filter((content) => content !== undefined)).toEqual([decided, decided]);
    await declare(ONE, { [ANNOTATION_REFRESH]: "2" });
    await until("it was looked at again", async () => (await adapters.status(key))?.served?.refresh === "2");
    expect(digests()).toEqual(made.map(() => moved));
  });

  test("a pod that joins is told which pods have what was decided on, where a token lets sidecars give it; after a failure once for each", async () => {
    const dir = await mkdtemp(join(tmpdir(), "token-"));
    try {
      await writeFile(join(dir, "token"), "secret");
      const [a, b] = await pods(["a", "b"]);
      await world.controller([...FLAGS, `--runtime-token-file=${join(dir, "token")}`], TIMING);
      await declare(ONE);
      await serves(2);
      // Its source has moved on, and the pods that it asks do not give it.
      const [c] = await pods(["c"]);
      if (a === undefined || b === undefined || c === undefined) throw new Error("pods are missing");
      const urlOf = ({ ip }: FakePod) => world.pods.connect(ip, 8080);
      c.runtime.fate = () => ({ reason: "ArtifactChanged", message: "it has moved on", retryable: false });
      const told = () => c.runtime.loads.map((load) => [...(load.peers ?? [])].sort());
      const failed = () =>
        until("it is told that it failed", async () =>
          (await adapters.status(key))?.pods?.some((p) => p.name === "c" && p.state === "Failed" && p.reason === "ArtifactChanged"),
        );
      await failed();
      const both = [a, b].map(urlOf).sort();
      expect(told()).toEqual([both]);
      expect(c.runtime.loads[0]?.content).toEqual({ digest: digestAt(ONE) });
      // Another pod has it by now, which may give it.
      const [d] = await pods(["d"]);
      if (d === undefined) throw new Error("a pod is missing");
      await until("it is told anew", () => c.runtime.loads.length === 2);
      expect(told()[1]).toEqual([...both, urlOf(d)].sort());
      c.runtime.fate = () => "serving";
      // One that goes, and one that comes: it is told of that one too.
      await world.deletePod(a);
      await pods(["e"]);
      await serves(4);
      expect(c.runtime.servedDigest("x")).toBe(digestAt(ONE));
      expect(c.runtime.loads.every((load) => !(load.peers ?? []).includes(urlOf(c)))).toBe(true);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test("without a token no pod is told of others", async () => {
    await pods(["a"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(1);
    const [b] = await pods(["b"]);
    await serves(2);
    expect(b?.runtime.loads.map((load) => [load.content?.digest, load.peers])).toEqual([[digestAt(ONE), undefined]]);
  });

  test("by the clock it is looked at again and again, without a word as long as it is the same", async () => {
    const [a] = await pods(["a"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE, {}, { refreshInterval: "1s" });
    await serves(1);
    await until("it was looked at twice", () => (a?.runtime.prepares.length ?? 0) >= 2);
    expect(updated(await adapters.status(key))).toBeUndefined();
    const moved = `sha256:${"3".repeat(16)}`;
    if (a !== undefined) a.runtime.contentAt = () => moved;
    await through(moved);
  });

  test("pods that loaded two contents of a reference which moved meanwhile end on one", async () => {
    const [a, b] = await pods(["a", "b"]);
    if (b !== undefined) b.runtime.contentAt = () => `sha256:${"4".repeat(16)}`;
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    const [first, second] = digests();
    expect(first).toBe(second);
    expect(a?.runtime.servedDigest("x")).toBe((await adapters.status(key))?.contentDigest);
  });

  const CHECKS = {
    rollout: { checks: [{ name: "greets", prompt: "hello", expect: { contains: "hi", matches: "^h", maxLatency: "2s" } }] },
  };

  test("new content answers prompts on one pod first; where it does not as expected nothing is swapped, and an edit has it asked again", async () => {
    await pods(["a", "b", "c"]);
    let told = 0;
    for (const { runtime } of made)
      runtime.answers = ({ artifact_url: url }) => {
        told++;
        return url === TWO && told === 1
          ? { reason: "CheckFailed", message: 'check 1 (greets) failed: expected a text with "hi" in it, got "ho"', retryable: false }
          : "serving";
      };
    await world.controller(FLAGS, TIMING);
    await declare(ONE, {}, CHECKS);
    await serves(3);
    // What serves nothing before has nothing to be kept.
    expect(told).toBe(0);
    const loads = made.map((p) => p.runtime.loads.length);
    await declare(TWO, {}, CHECKS);
    const s = await adapters.condition(key, "Updated", "False", "CheckFailed");
    expect(s.update).toMatchObject({
      state: "Failed",
      message: expect.stringMatching(/^pod [abc]: check 1 \(greets\) failed: .*got "ho"$/),
    });
    expect([made.map((p) => p.runtime.loads.length), digests(), told]).toEqual([loads, made.map(() => digestAt(ONE)), 1]);
    await until("UpdateFailed is told", async () => (await adapters.events(key)).includes("UpdateFailed"));
    const [asked] = made.flatMap((p) => p.runtime.prepares);
    const expected = { status: 200, not_empty: true, contains: "hi", matches: "^h", max_latency_ms: 2_000 };
    expect(asked?.checks).toEqual([{ name: "greets", prompt: "hello", max_tokens: 16, expect: expected }]);
    await declare(TWO, {}, { rollout: { checks: [{ prompt: "hello" }] } });
    await through(digestAt(TWO));
    // By one pod for all of them.
    expect([told, made.flatMap((p) => p.runtime.prepares).filter((r) => r.checks !== undefined).length]).toEqual([2, 2]);
  });

  test("whoever has new content answer may go: another pod has it answer then", async () => {
    const [a, b] = await pods(["a", "b"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    for (const { runtime } of made) runtime.loadMs = 3_600_000;
    await declare(TWO, {}, CHECKS);
    await until("a is asked", () => a?.runtime.prepares[0]?.checks !== undefined);
    if (a !== undefined) await world.deletePod(a);
    if (b !== undefined) b.runtime.loadMs = 0;
    await until("b is asked", () => b?.runtime.prepares.at(-1)?.checks !== undefined);
    await through(digestAt(TWO));
  });

  test.each([
    { name: "a pattern of another dialect", check: { prompt: "p", expect: { matches: "(?=a)" } }, says: /regexp|regular expression/ },
    { name: "neither prompt nor messages", check: { name: "n" }, says: /either prompt/ },
    { name: "both", check: { prompt: "p", messages: [{ role: "user", content: "c" }] }, says: /either prompt/ },
    { name: "a latency without unit", check: { prompt: "p", expect: { maxLatency: "2" } }, says: /maxLatency/ },
  ])("a check with $name is refused by the API server", async ({ check, says }) => {
    await expect(declare(ONE, {}, { rollout: { checks: [check] } })).rejects.toThrow(says);
  });

  test("sidecars of an earlier release get it too, one after the other", async () => {
    await pods(["a", "b"]);
    for (const p of made) p.runtime.old = true;
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(2);
    await declare(TWO);
    await through(digestAt(TWO));
    expect(digests()).toEqual(made.map(() => digestAt(TWO)));
  });

  test("edits that overtake each other end on the last one", async () => {
    await pods(["a", "b", "c"]);
    await world.controller(FLAGS, TIMING);
    await declare(ONE);
    await serves(3);
    for (const p of made) p.runtime.loadMs = 20;
    for (let i = 0; i < 6; i++) {
      await declare(i % 2 === 0 ? TWO : ONE);
      await until("a moment later", () => true, 1_000, 10);
    }
    await declare("s3://models/last");
    await through(digestAt("s3://models/last"));
    expect(digests()).toEqual(made.map(() => digestAt("s3://models/last")));
    expect(prepares().every((count) => count > 0)).toBe(true);
  });
});

describe("engines without sidecar", () => {
  test("are swapped one after the other; one that refuses brings the old content back, and a refresh is told to be impossible", async () => {
    const all = await pods(["a", "b"], { sidecar: false, volume: false });
    for (const p of all) p.engine.exists = (path) => path !== "/models/bad";
    await world.controller([], TIMING);
    await declare("/models/one");
    await serves(2);
    await declare("/models/two");
    await until("it is updated", async () => (await adapters.status(key))?.served?.artifactURL === "/models/two");
    expect(all.map((p) => [p.engine.adapters.get("x"), p.engine.most])).toEqual([
      ["/models/two", 1],
      ["/models/two", 1],
    ]);
    await declare("/models/bad");
    await adapters.condition(key, "Updated", "False", "ArtifactNotFound");
    await until("both have the old", () => all.every((p) => p.engine.adapters.get("x") === "/models/two"));
    await declare("/models/two", { [ANNOTATION_REFRESH]: "1" });
    await adapters.condition(key, "Updated", "False", "RefreshUnsupported");
    await until("both serve", async () => (await adapters.status(key))?.readyReplicas === 2);
    await declare("/models/three", {}, { rollout: { checks: [{ prompt: "hello" }] } });
    await adapters.condition(key, "Updated", "False", "ChecksUnsupported");
    await declare("/models/three");
    await until("it is updated", async () => (await adapters.status(key))?.served?.artifactURL === "/models/three");
  });

  const worker = (words: string) =>
    `Call to add_lora method failed: Worker failed with error '${words}', please check the stack trace above for the root cause`;
  const bad = (url: string, words: string | undefined, reason: Reason) => ({ url, words, reason });
  test.each([
    bad("/models/cut", worker("Error while deserializing header: incomplete metadata, file not fully covered"), "ArtifactInvalid"),
    bad(
      "/models/other",
      worker("The size of tensor a (64) must match the size of tensor b (128) at non-singleton dimension 1"),
      "EngineRefused",
    ),
    bad("/models/unknown", worker("something that nobody has seen yet"), "EngineRefused"),
    // Both may pass.
    bad("huggingface://acme/missing", undefined, "ArtifactNotFound"),
    bad("/models/large", worker("CUDA out of memory. Tried to allocate 2.00 GiB"), "EngineRefused"),
  ])("have the old content again after $reason of $url, and the update ends", async ({ url, words, reason }) => {
    const [{ engine }] = (await pods(["a"], { sidecar: false, volume: false })) as [FakePod];
    engine.exists = (path) => path !== "acme/missing";
    await world.controller([], TIMING);
    await declare("/models/one");
    await serves(1);
    engine.objects = (path) => (path === "/models/one" ? undefined : words);
    await declare(url);
    await adapters.condition(key, "Updated", "False", reason);
    await until("it has the old", () => engine.adapters.get("x") === "/models/one");
    await until("it serves", async () => (await adapters.status(key))?.readyReplicas === 1);
    expect((await adapters.status(key))?.served?.artifactURL).toBe("/models/one");
    engine.objects = () => undefined;
    await declare(`${url}-mended`);
    await until("it is updated", async () => (await adapters.status(key))?.served?.artifactURL === `${url}-mended`);
  });
});

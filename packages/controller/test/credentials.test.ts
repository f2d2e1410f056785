import { describe, expect, test } from "vitest";
import { adapters, key, made, ns, serves, updated, updatedTo, useNamespaces, world } from "./support/case.ts";
import { digestAt } from "./support/fake-runtime.ts";
import { adapter, type FakePod, type PodOptions, until } from "./support/world.ts";

const TIMING = { callBackoff: { baseMs: 20, maxMs: 500 }, callSettleMs: 200, directPeriodMs: 100, secretMaxAgeMs: 0 } as const;
const FLAGS = ["--enable-runtime-sidecar"];
const URL = "s3://models/one";

useNamespaces("credentials");

/** Pods whose storage and whose engine refuse what is called wrong. */
async function pods(names: readonly string[], options: PodOptions = {}): Promise<readonly FakePod[]> {
  for (const name of names) {
    const pod = await world.pod(name, { namespace: ns, volume: true, ...options });
    pod.runtime.fate = ({ credentials, additional_config: config }) => {
      if (credentials?.aws_secret_access_key === "wrong")
        return { reason: "ArtifactDenied", message: "the storage refused the credentials", retryable: false };
      if (config?.["api-key"] === "wrong")
        return { reason: "EngineUnauthorized", message: "the engine refused the API key", retryable: false };
      return "serving";
    };
  }
  return made;
}

const secret = (name: string, value: string) =>
  world.applyObject({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace: ns },
    stringData: { aws_access_key_id: "id", aws_secret_access_key: value, key: value },
  } as never);
const declare = (spec: Record<string, unknown>, annotations: Record<string, string> = {}) =>
  world.applyObject(adapter("x", { artifactURL: URL, ...spec }, { namespace: ns, annotations }));
const storage = (name: string) => ({ credentialsSecretRef: { name } });
const engineKey = (name: string) => ({ apiKeySecretRef: { name, key: "key" } });

const through = (generation: number) => updatedTo(`generation ${generation} is served`, (s) => s.observedGeneration === generation);
const loads = () => made.map((p) => p.runtime.loads.length);
const listed = () => made.map((p) => p.ip).sort();
/** What the sidecars were told last. */
const told = (what: (load: FakePod["runtime"]["loads"][number] | undefined) => string | undefined) =>
  made.map((p) => what(p.runtime.loads.at(-1)));

describe("through the sidecar", () => {
  test.each([
    {
      name: "credentials",
      spec: storage,
      reason: "ArtifactDenied",
      says: "the storage refused the credentials",
      of: (l: FakePod["runtime"]["loads"][number] | undefined) => l?.credentials?.aws_secret_access_key,
    },
    {
      name: "an API key",
      spec: engineKey,
      reason: "EngineUnauthorized",
      says: "the engine refused the API key",
      of: (l: FakePod["runtime"]["loads"][number] | undefined) => l?.additional_config?.["api-key"],
    },
  ])(
    "$name of another Secret are tried first: refused ones change nothing and are told, good ones are taken without a swap",
    async ({ spec, reason, says, of }) => {
      await pods(["a", "b"]);
      await secret("first", "right");
      await secret("bad", "wrong");
      await secret("good", "other");
      await world.controller(FLAGS, TIMING);
      await declare(spec("first"));
      await serves(2);
      const before = loads();
      await declare(spec("bad"));
      const s = await adapters.condition(key, "Updated", "False", reason);
      expect(updated(s)?.message).toContain(says);
      expect(s).toMatchObject({ phase: "Running", observedGeneration: 1, readyReplicas: 2, contentDigest: digestAt(URL) });
      expect([loads(), await adapters.addresses(key)]).toEqual([before, listed()]);
      await until("UpdateFailed is told", async () => (await adapters.events(key)).includes("UpdateFailed"));
      await declare(spec("good"));
      const after = await through(3);
      expect(after).toMatchObject({ readyReplicas: 2, contentDigest: digestAt(URL) });
      await until("all were told", () => told(of).every((value) => value === "other"));
      expect([made.flatMap((p) => p.runtime.swaps), await adapters.addresses(key)]).toEqual([[], listed()]);
      expect(made.every((p) => p.runtime.prepares.some((r) => r.prove === true))).toBe(true);
      expect(JSON.stringify(after)).not.toContain("other");
    },
  );

  test("an API key that comes with new content is tried before any pod is told of it", async () => {
    await pods(["a", "b"]);
    await secret("first", "right");
    await secret("bad", "wrong");
    await secret("good", "other");
    await world.controller(FLAGS, TIMING);
    await declare(engineKey("first"));
    await serves(2);
    const before = loads();
    await declare({ artifactURL: "s3://models/two", ...engineKey("bad") });
    const s = await adapters.condition(key, "Updated", "False", "EngineUnauthorized");
    expect(s).toMatchObject({ phase: "Running", observedGeneration: 1, readyReplicas: 2, contentDigest: digestAt(URL) });
    expect([loads(), await adapters.addresses(key)]).toEqual([before, listed()]);
    await declare({ artifactURL: "s3://models/two", ...engineKey("good") });
    expect(await through(3)).toMatchObject({ readyReplicas: 2, contentDigest: digestAt("s3://models/two") });
  });

  test("what a Secret holds now is tried first too, and is told only where it is refused", async () => {
    await pods(["a", "b"]);
    await secret("store", "right");
    await world.controller(FLAGS, TIMING);
    await declare(storage("store"));
    await serves(2);
    // A reference that has moved is not resolved anew for that.
    for (const p of made) p.runtime.contentAt = () => `sha256:${"5".repeat(16)}`;
    await secret("store", "newer");
    await declare(storage("store"), { look: "1" });
    await until("all were told", () => told((l) => l?.credentials?.aws_secret_access_key).every((value) => value === "newer"));
    expect(updated(await adapters.status(key))).toBeUndefined();
    const before = loads();
    await secret("store", "wrong");
    await declare(storage("store"), { look: "2" });
    const s = await adapters.condition(key, "Updated", "False", "ArtifactDenied");
    expect(s).toMatchObject({ phase: "Running", readyReplicas: 2, contentDigest: digestAt(URL) });
    expect(loads()).toEqual(before);
    await secret("store", "right again");
    await declare(storage("store"), { look: "3" });
    await through(1);
    expect(made.flatMap((p) => p.runtime.swaps)).toEqual([]);
  });

  test("credentials of another Secret may lead to other content: it is swapped, pod by pod", async () => {
    await pods(["a", "b"]);
    await secret("first", "right");
    await secret("second", "other");
    await world.controller(FLAGS, TIMING);
    await declare(storage("first"));
    await serves(2);
    const other = `sha256:${"6".repeat(16)}`;
    for (const p of made) p.runtime.contentAt = () => other;
    await declare(storage("second"));
    expect(await through(2)).toMatchObject({ contentDigest: other, readyReplicas: 2 });
    expect(made.map((p) => p.runtime.swaps)).toEqual([[`x ${other}`], [`x ${other}`]]);
  });

  test("a Secret that is not there keeps what serves, and is told; it is taken once it is there", async () => {
    await pods(["a"]);
    await secret("first", "right");
    await world.controller(FLAGS, TIMING);
    await declare(storage("first"));
    await serves(1);
    await declare(storage("missing"));
    const s = await adapters.condition(key, "Updated", "False", "SecretNotFound");
    expect(updated(s)?.message).toMatch(/the Secret missing of credentialsSecretRef does not exist .*create it/);
    expect(s).toMatchObject({ phase: "Running", observedGeneration: 1, readyReplicas: 1 });
    await secret("missing", "right");
    await declare(storage("missing"), { look: "1" });
    await through(2);
  });

  test("a pod that refused is gone: what was refused on its account is tried on those that are left", async () => {
    const [a] = await pods(["a", "b"]);
    await secret("first", "right");
    await secret("second", "other");
    await world.controller(FLAGS, TIMING);
    await declare(engineKey("first"));
    await serves(2);
    if (a !== undefined)
      a.runtime.fate = ({ additional_config: config }) =>
        config?.["api-key"] === "other" ? { reason: "EngineUnauthorized", message: "refused", retryable: false } : "serving";
    await declare(engineKey("second"));
    await adapters.condition(key, "Updated", "False", "EngineUnauthorized");
    if (a !== undefined) await world.deletePod(a);
    await through(2);
  });
});

test("without a sidecar the engine itself is asked whether it takes another key", async () => {
  const [a] = await pods(["a"], { sidecar: false, volume: false });
  if (a !== undefined) a.engine.apiKey = "right";
  await secret("first", "right");
  await secret("bad", "wrong");
  await world.controller([], TIMING);
  await declare({ artifactURL: "huggingface://acme/one", ...engineKey("first") });
  await serves(1);
  await declare({ artifactURL: "huggingface://acme/one", ...engineKey("bad") });
  const s = await adapters.condition(key, "Updated", "False", "EngineUnauthorized");
  expect(s).toMatchObject({ phase: "Running", readyReplicas: 1, observedGeneration: 1 });
  await declare({ artifactURL: "huggingface://acme/one", ...engineKey("first") });
  await through(3);
});

import { existsSync, readFileSync } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BrokenAdapterKind, type Hub, type HubCall, startHub, writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { complete, engineModels, type Runtime, World } from "./support/world.ts";

const world = new World();
const TOKEN = "hf_test-token-of-the-hub";
let engine: Program;
let runtime: Runtime;
let hub: Hub;
let s3: S3;
const calls: HubCall[] = [];

beforeAll(async () => {
  const repos = world.path("hub");
  await writeAdapter(join(repos, "acme/sql-lora"), { seed: 1 });
  await writeAdapter(join(repos, "acme/sql-lora@v2"), { seed: 2 });
  await writeAdapter(join(repos, "acme/gated"), { seed: 3 });
  await writeFile(join(repos, "acme/gated/.gated"), "");
  await writeBrokenAdapter(join(repos, "acme/cut"), "truncated");
  hub = await startHub({ root: repos, token: TOKEN, onCall: (call) => calls.push(call) });
  s3 = await startS3(world.path("s3"));
  await writeAdapter(world.path("for-s3"), { seed: 4 });
  await s3.putFolder("models", "adapters/sql", world.path("for-s3"));
  await s3.put("models", "adapters/sql/checkpoint-10/optimizer.pt", Buffer.alloc(10));
  await s3.put("models", "adapters/sql-other/README.md", Buffer.from("x"));
  engine = await world.engine();
  runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
});
afterAll(async () => {
  await stopPrograms();
  await hub?.close();
  await s3?.close();
  world.remove();
});

/** Sees that an adapter serves from its own content's folder, and that the engine answers by its weights. */
async function servesWhole(name: string, from: string) {
  const status = await runtime.serves(name);
  const { path = "", content_digest: digest = "" } = status.serving ?? {};
  expect(path).toBe(join(world.artifacts, name, digest.replace("sha256:", "")));
  expect(await engineModels(engine)).toMatchObject({ [name]: path });
  expect((await readdir(path)).sort()).toEqual([".aibrix-manifest.json", "adapter_config.json", "adapter_model.safetensors"]);
  for (const file of ["adapter_config.json", "adapter_model.safetensors"])
    expect(readFileSync(join(path, file)).equals(readFileSync(join(from, file)))).toBe(true);
  expect((await complete(engine, name)).status).toBe(200);
  return status;
}

describe("the Hub", () => {
  test("a repository: the commit is told, and nothing half done is left", async () => {
    expect((await runtime.load("hub-main", "huggingface://acme/sql-lora")).status).toBe(202);
    const status = await servesWhole("hub-main", world.path("hub/acme/sql-lora"));
    expect(status.resolved_revision).toMatch(/^[0-9a-f]{40}$/);
    expect(status.download).toBeUndefined();
    expect(await readdir(join(world.artifacts, ".tmp"))).toEqual([]);
  });

  test("a revision", async () => {
    await runtime.load("hub-v2", "hf://acme/sql-lora@v2");
    await servesWhole("hub-v2", world.path("hub/acme/sql-lora@v2"));
  });

  test("content that is here already is not fetched again", async () => {
    const before = await runtime.serves("hub-main");
    await runtime.post("unload", { lora_name: "hub-main" });
    await runtime.gone("hub-main");
    calls.length = 0;
    await runtime.load("hub-main", "huggingface://acme/sql-lora");
    expect((await runtime.serves("hub-main")).serving?.path).toBe(before.serving?.path);
    expect(calls.filter((c) => c.url.includes("resolve"))).toEqual([]);
    expect(calls.length).toBeGreaterThan(0);
  });

  test("a gated one without a token, with a wrong one, and with the right one, which nobody gets to read", async () => {
    await runtime.load("gated", "hf://acme/gated");
    expect((await runtime.failed("gated", "ArtifactDenied")).message).toMatch(/gated.*credentialsSecretRef/);
    await runtime.load("gated", "hf://acme/gated", { credentials: { huggingface_token: "hf_wrong-token" } });
    expect((await runtime.until("gated", { state: "Failed", message: expect.stringContaining("refused the token") })).retryable).toBe(
      false,
    );
    await runtime.load("gated", "hf://acme/gated", { credentials: { huggingface_token: TOKEN } });
    await runtime.serves("gated");
    const shown =
      runtime.program.output() +
      JSON.stringify(await runtime.snapshot()) +
      readFileSync(join(world.artifacts, ".state/declared.json"), "utf8");
    expect(shown).not.toMatch(/hf_/);
  });

  test.each([
    { name: "no-repo", url: "hf://acme/nothing", says: /acme\/nothing does not exist/ },
    { name: "no-revision", url: "hf://acme/sql-lora@v9", says: /no revision "v9"/ },
  ])("what does not exist: $name", async ({ name, url, says }) => {
    await runtime.load(name, url);
    expect(await runtime.failed(name, "ArtifactNotFound")).toMatchObject({
      message: expect.stringMatching(says),
      retryable: false,
      serving: null,
    });
  });

  test("a truncated file never reaches the engine", async () => {
    await runtime.load("cut", "hf://acme/cut");
    expect((await runtime.failed("cut", "ArtifactInvalid")).message).toMatch(/adapter_model\.safetensors is truncated: it has \d+ bytes/);
    expect(existsSync(join(world.artifacts, "cut"))).toBe(false);
  });
});

describe("S3", () => {
  test.each(["s3://models/adapters/sql", "s3://models/adapters/sql/"])("a prefix: %s", async (url) => {
    const name = url.endsWith("/") ? "s3-slash" : "s3-plain";
    await runtime.load(name, url, { credentials: s3.secret });
    await servesWhole(name, world.path("for-s3"));
  });

  test("content that is here already is not fetched again", async () => {
    const { text: before } = await runtime.text("/metrics");
    await runtime.post("unload", { lora_name: "s3-plain" });
    await runtime.gone("s3-plain");
    await runtime.load("s3-plain", "s3://models/adapters/sql", { credentials: s3.secret });
    await runtime.serves("s3-plain");
    expect(bytesOf((await runtime.text("/metrics")).text)).toBe(bytesOf(before));
  });

  test.each([
    {
      name: "wrong-key",
      url: "s3://models/adapters/sql",
      credentials: { aws_secret_access_key: "wrong-secret" },
      reason: "ArtifactDenied",
      says: /refused the credentials.*check the keys/,
      cause: "HTTP 403",
    },
    {
      name: "wrong-id",
      url: "s3://models/adapters/sql",
      credentials: { aws_access_key_id: "nobody" },
      reason: "ArtifactDenied",
      says: /refused the credentials/,
      cause: "HTTP 403",
    },
    {
      name: "no-bucket",
      url: "s3://nothing/adapters",
      credentials: {},
      reason: "ArtifactNotFound",
      says: /bucket "nothing" does not exist/,
      cause: "HTTP 404",
    },
    {
      name: "no-prefix",
      url: "s3://models/adapters/none",
      credentials: {},
      reason: "ArtifactNotFound",
      says: /no objects under s3:\/\/models\/adapters\/none\//,
      cause: undefined,
    },
    {
      name: "nobody",
      url: "s3://models/adapters/sql",
      credentials: { aws_endpoint_url: "http://127.0.0.1:9" },
      reason: "ArtifactUnavailable",
      says: /127\.0\.0\.1:9 does not answer.*ECONNREFUSED/,
      cause: "ECONNREFUSED",
    },
  ])("tells $name", async ({ name, url, credentials, reason, says, cause }) => {
    await runtime.load(name, url, { credentials: { ...s3.secret, ...credentials } });
    const status = await runtime.failed(name, reason);
    expect(status.message).toMatch(says);
    expect(status.retryable).toBe(reason === "ArtifactUnavailable");
    expect(status.cause).toBe(cause);
    await runtime.post("unload", { lora_name: name });
  });

  test("no credentials at all", async () => {
    await runtime.load("no-keys", "s3://models/adapters/sql", { credentials: { aws_endpoint_url: s3.endpoint } });
    expect((await runtime.failed("no-keys", "ArtifactDenied")).message).toMatch(/no AWS credentials.*credentialsSecretRef/);
  });

  test("keys appear nowhere", async () => {
    const shown = runtime.program.output() + JSON.stringify(await runtime.snapshot());
    expect(shown).not.toContain(s3.secretAccessKey);
    expect(shown).not.toContain("wrong-secret");
  });
});

describe("a path", () => {
  test("is read in place, and stays", async () => {
    await writeAdapter(world.path("local/good"), { seed: 5 });
    await runtime.load("local", world.path("local/good"));
    expect((await runtime.serves("local")).serving?.path).toBe(world.path("local/good"));
    expect(await engineModels(engine)).toMatchObject({ local: world.path("local/good") });
    await runtime.post("unload", { lora_name: "local", cleanup_local: true });
    await runtime.gone("local");
    expect(existsSync(world.path("local/good/adapter_config.json"))).toBe(true);
    expect(existsSync(join(world.artifacts, "local"))).toBe(false);
  });

  test.each<{ kind: BrokenAdapterKind; reason: string; says: RegExp; reaches: boolean }>([
    { kind: "truncated", reason: "ArtifactInvalid", says: /truncated/, reaches: false },
    { kind: "empty", reason: "ArtifactInvalid", says: /there are no files/, reaches: false },
    { kind: "only-bin", reason: "ArtifactInvalid", says: /pickle.*safe_serialization/, reaches: false },
    { kind: "broken-config", reason: "ArtifactInvalid", says: /adapter_config\.json is not JSON/, reaches: false },
    { kind: "no-config", reason: "ArtifactInvalid", says: /adapter_config\.json is missing/, reaches: false },
    { kind: "rank16", reason: "EngineRefused", says: /LoRA rank 16 is greater than max_lora_rank 8.*--max-lora-rank 16/, reaches: true },
    { kind: "wrong-base", reason: "ArtifactUnfit", says: /base model of another size/, reaches: true },
    { kind: "lm-head", reason: "ArtifactUnfit", says: /lm_head/, reaches: true },
  ])("$kind is refused with its cause", async ({ kind, reason, says, reaches }) => {
    await writeBrokenAdapter(world.path(`local/${kind}`), kind);
    await runtime.load(kind, world.path(`local/${kind}`));
    const status = await runtime.failed(kind, reason);
    expect(status).toMatchObject({ message: expect.stringMatching(says), retryable: false, serving: null });
    expect(status.content_digest !== undefined).toBe(reaches);
    expect((await complete(engine, "hub-v2")).status).toBe(200);
  });

  test("one that comes later is taken with the next call", async () => {
    await runtime.load("late", world.path("local/late"));
    await runtime.failed("late", "ArtifactNotFound");
    await writeAdapter(world.path("local/late"), { seed: 6 });
    await runtime.load("late", world.path("local/late"));
    await runtime.serves("late");
    await rm(world.path("local/late"), { recursive: true });
  });
});

test("an update: new content is a new path, and answers at once; a bad one leaves the old serving", async () => {
  await runtime.load("moving", "hf://acme/sql-lora");
  const before = await runtime.serves("moving");
  const answer = await complete(engine, "moving");
  await runtime.load("moving", "hf://acme/sql-lora@v2");
  const after = await runtime.until("moving", { state: "Serving", artifact_url: "hf://acme/sql-lora@v2" });
  expect(after.serving?.path).not.toBe(before.serving?.path);
  expect((await complete(engine, "moving")).text).not.toBe(answer.text);
  await runtime.load("moving", "hf://acme/cut");
  expect(await runtime.failed("moving", "ArtifactInvalid")).toMatchObject({
    serving: { path: after.serving?.path },
    message: expect.stringMatching(/upload the file again$/),
  });
  expect((await complete(engine, "moving")).status).toBe(200);
});

function bytesOf(metrics: string): string | undefined {
  return /^aibrix_runtime_downloaded_bytes_total (\d+)/m.exec(metrics)?.[1];
}

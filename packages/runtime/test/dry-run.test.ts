// The dry run: what a load would find, by HTTP and from the shell.
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type CheckReport, CheckReportSchema } from "@aibrix/api";
import { type Hub, startHub, writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { Value } from "typebox/value";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CountingProxy, startCountingProxy } from "./support/counting-proxy.ts";
import { type Program, runProgram, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { eventually, type Runtime, World } from "./support/world.ts";

const world = new World();
const TOKEN = "hf_test-token-of-the-hub";
let engine: Program;
let proxy: CountingProxy;
let runtime: Runtime;
let hub: Hub;
let s3: S3;

beforeAll(async () => {
  const repos = world.path("hub");
  await writeAdapter(join(repos, "acme/good"), { seed: 1 });
  await writeBrokenAdapter(join(repos, "acme/rank16"), "rank16");
  await writeBrokenAdapter(join(repos, "acme/cut"), "truncated");
  await writeAdapter(join(repos, "acme/gated"), { seed: 3 });
  await writeFile(join(repos, "acme/gated/.gated"), "");
  hub = await startHub({ root: repos, token: TOKEN });
  s3 = await startS3(world.path("s3"));
  // Larger than what is read of the beginning, so that a part is not the whole.
  await writeAdapter(world.path("for-s3"), { seed: 4, rank: 64 });
  await s3.putFolder("models", "adapters/sql", world.path("for-s3"));
  engine = await world.engine();
  proxy = await startCountingProxy(engine.url);
  runtime = await world.runtime(proxy.url, { args: ["--max-lora-rank=8"], env: { HF_ENDPOINT: hub.url } });
  await eventually(async () => expect((await runtime.snapshot()).engine.ready).toBe(true));
});
afterAll(async () => {
  await proxy?.close();
  await stopPrograms();
  await hub?.close();
  await s3?.close();
  world.remove();
});

async function check(body: object): Promise<{ readonly status: number; readonly report: CheckReport }> {
  const answer = await fetch(`${runtime.url}/v1/lora_adapter/check`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const report = (await answer.json()) as CheckReport;
  if (answer.status === 200) expect([...Value.Errors(CheckReportSchema, report)]).toEqual([]);
  return { status: answer.status, report };
}

/** Nothing of a check is kept, and the engine hears nothing of it. */
async function leavesNothing(): Promise<void> {
  expect(proxy.posts).toEqual([]);
  expect((await runtime.snapshot()).adapters).toEqual([]);
  expect((await readdir(world.artifacts)).filter((n) => !n.startsWith("."))).toEqual([]);
  expect(await readdir(join(world.artifacts, ".tmp"))).toEqual([]);
}

const GOOD = {
  ok: true,
  rank: 8,
  max_rank: 8,
  target_modules: ["q_proj", "v_proj"],
  dtypes: ["F32"],
  tensors: 8,
  base_model: "tiny",
  compared_with: { max_lora_rank: 8, architecture: "Qwen2ForCausalLM" },
  warnings: [],
};

describe("POST /v1/lora_adapter/check", () => {
  test.each([false, true])("a repository, deep %s", async (deep) => {
    const { status, report } = await check({ artifact_url: "hf://acme/good", deep });
    expect(status).toBe(200);
    expect(report).toMatchObject({
      ...GOOD,
      deep,
      resolved_revision: expect.stringMatching(/^[0-9a-f]{40}$/),
      content_digest: expect.stringMatching(/^sha256:/),
    });
    expect(report.files.map((f) => f.name).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    await leavesNothing();
  });

  test("the digest is the one that a load has", async () => {
    const other = new World();
    const loader = await other.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
    await loader.load("good", "hf://acme/good");
    const { content_digest: digest } = await loader.serves("good");
    expect((await check({ artifact_url: "hf://acme/good" })).report.content_digest).toBe(digest);
    expect((await check({ artifact_url: world.path("hub/acme/good"), deep: true })).report.content_digest).toBe(digest);
    await loader.post("unload", { lora_name: "good" });
    await loader.gone("good");
    await loader.program.stop();
    other.remove();
  });

  test("of weights in S3 only the beginning is read", async () => {
    const { report } = await check({ artifact_url: "s3://models/adapters/sql", credentials: s3.secret, limits: { max_lora_rank: 64 } });
    expect(report).toMatchObject({ ok: true, rank: 64, compared_with: { max_lora_rank: 64 } });
    expect(report.total_bytes).toBeGreaterThan(64 * 1024);
    expect(report.content_digest).toBeUndefined();
    const whole = await check({
      artifact_url: "s3://models/adapters/sql",
      credentials: s3.secret,
      limits: { max_lora_rank: 64 },
      deep: true,
    });
    expect(whole.report).toMatchObject({ ok: true, content_digest: expect.stringMatching(/^sha256:/) });
    await leavesNothing();
  });

  test.each([
    { url: "hf://acme/rank16", code: "ArtifactUnfit", says: /rank 16.*8 at most/, cause: undefined, more: { rank: 16, tensors: 8 } },
    { url: "hf://acme/cut", code: "ArtifactInvalid", says: /truncated/, cause: undefined, more: { total_bytes: expect.any(Number) } },
    { url: "hf://acme/gated", code: "ArtifactDenied", says: /gated/, cause: "HTTP 401", more: { total_bytes: expect.any(Number) } },
    { url: "hf://acme/nothing", code: "ArtifactNotFound", says: /does not exist/, cause: "HTTP 404", more: { files: [] } },
    { url: "/does/not/exist", code: "ArtifactNotFound", says: /does not exist/, cause: "ENOENT", more: { files: [] } },
  ])("$url is no good: the report says why, and what was seen until then", async ({ url, code, says, cause, more }) => {
    const { status, report } = await check({ artifact_url: url });
    expect(status).toBe(200);
    expect(report).toMatchObject({ ok: false, error: { code, message: expect.stringMatching(says), retryable: false }, ...more });
    expect(report.error?.cause).toBe(cause);
    await leavesNothing();
  });

  test("credentials open what is gated, and are shown nowhere", async () => {
    const { report } = await check({ artifact_url: "hf://acme/gated", credentials: { huggingface_token: TOKEN } });
    expect(report.ok).toBe(true);
    expect(JSON.stringify(report) + runtime.program.output()).not.toContain(TOKEN);
  });

  test.each([
    { body: {}, status: 400, says: /artifact_url: is required/ },
    { body: { artifact_url: "ftp://x" }, status: 400, says: /artifact_url: / },
    { body: { artifact_url: "/a", deep: "yes" }, status: 400, says: /deep: .*true or false/ },
    { body: { artifact_url: "/a", additional_config: {} }, status: 400, says: /additional_config: is not a field/ },
    { body: { artifact_url: "s3://models/b", delivery: { mode: "engine" } }, status: 422, says: /cannot read/ },
  ])("a request that cannot work: $body", async ({ body, status, says }) => {
    const answer = await check(body);
    expect(answer).toMatchObject({ status, report: { error: { message: expect.stringMatching(says) } } });
  });

  test("what the engine reads itself is said to be unchecked", async () => {
    const { report } = await check({ artifact_url: "hf://acme/good", delivery: { mode: "engine" } });
    expect(report).toMatchObject({ ok: true, warnings: [expect.stringContaining("the engine reads the artifact itself")] });
  });
});

describe("aibrix_runtime check", () => {
  const run = async (...args: readonly string[]) => {
    await mkdir(world.path("tmp"), { recursive: true });
    return await runProgram("runtime", ["check", ...args], { HF_ENDPOINT: hub.url, TMPDIR: world.path("tmp") });
  };

  test("a good one: 0, and a report to read", async () => {
    const { code, output } = await run("hf://acme/good", "--max-lora-rank=16", `--base-model=${world.path("base")}`, "--deep");
    expect(output).toMatch(/^rank: +8$/m);
    expect(output).toMatch(/^modules: +q_proj, v_proj$/m);
    expect(output).toMatch(/^compared with: --max-lora-rank 16, Qwen2ForCausalLM$/m);
    expect(output).toMatch(/^result: +good$/m);
    expect(code).toBe(0);
    expect(await readdir(world.path("tmp"))).toEqual([]);
  });

  test("a bad one: 1, and why", async () => {
    const { code, output } = await run("--max-lora-rank", "8", "hf://acme/rank16");
    expect(output).toMatch(/^result: +ArtifactUnfit: .*rank 16.*--max-lora-rank 16/m);
    expect(code).toBe(1);
  });

  test("the report as JSON is the one that the API gives", async () => {
    const { code, output } = await run("/does/not/exist", "--json");
    expect([...Value.Errors(CheckReportSchema, JSON.parse(output))]).toEqual([]);
    expect(code).toBe(1);
  });

  test.each([
    { args: [], says: "which artifact?" },
    { args: ["ftp://x"], says: "ftp://x: " },
    { args: ["/a", "--max-lora-rank=high"], says: "--max-lora-rank=high: write a number" },
    { args: ["/a", "--base-model=/does/not/exist"], says: "--base-model=/does/not/exist: there is no such folder" },
    { args: ["/a", "--base-model=/etc/hostname"], says: "--base-model=/etc/hostname: this is no folder" },
    { args: ["/a", "--base-model=/tmp"], says: "--base-model=/tmp: the folder holds no config.json" },
    { args: ["/a", "--nope"], says: "--nope" },
    { args: ["/a", "--hf-token=x"], says: "--hf-token" },
  ])("$args: 2, and what to write", async ({ args, says }) => {
    const { code, output } = await run(...args);
    expect(output).toContain(says);
    expect(code).toBe(2);
  });

  test("help: the program's names the command, the command's its flags", async () => {
    expect((await runProgram("runtime", ["--help"])).output).toMatch(/Commands .*\n {2}check /);
    expect((await run("--help")).output).toMatch(/--deep[\s\S]*Exit codes: 0/);
    expect(await runProgram("runtime", ["chekc"])).toMatchObject({
      code: 2,
      output: expect.stringContaining("chekc: no such command; write check"),
    });
  });
});

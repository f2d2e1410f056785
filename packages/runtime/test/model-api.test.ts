// POST /v1/model/download and GET /v1/model/list of a running runtime, with a real Hub and a real S3 server.
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { ErrorBodySchema, type ModelList, ModelListSchema, type ModelStatus, ModelStatusSchema } from "@aibrix/api";
import { type Hub, startHub, writeBaseModel } from "@aibrix/devcluster";
import { Value } from "typebox/value";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type GatedProxy, startGatedProxy } from "./support/gated-proxy.ts";
import { noise } from "./support/noise.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { eventually, World } from "./support/world.ts";

const world = new World();
const TOKEN = "hf_test-token-of-the-hub";
const BIG_BYTES = 4 * 2 ** 20;
const repos = world.path("hub");
const models = world.path("models");
let hub: Hub;
let proxy: GatedProxy;
let s3: S3;
let runtime: Program;

beforeAll(async () => {
  await writeBaseModel(join(repos, "acme/tiny"));
  await mkdir(join(repos, "acme/tiny/onnx"));
  await writeFile(join(repos, "acme/tiny/onnx/config.json"), "{}");
  await cp(join(repos, "acme/tiny"), join(repos, "acme/gated"), { recursive: true });
  await writeFile(join(repos, "acme/gated/.gated"), "");
  for (const n of [1, 2, 3, 4, 5]) {
    await mkdir(join(repos, `acme/big-${n}`));
    await writeFile(join(repos, `acme/big-${n}/config.json`), "{}");
    await writeFile(join(repos, `acme/big-${n}/big.safetensors`), noise(BIG_BYTES, n));
  }
  hub = await startHub({ root: repos, token: TOKEN });
  proxy = await startGatedProxy(hub.url, /big\.safetensors/);
  s3 = await startS3(world.path("s3"));
  await s3.putFolder("models", "base/tiny", join(repos, "acme/tiny/onnx"));
  // No engine is needed for any of it.
  runtime = (
    await world.runtime("http://127.0.0.1:9", {
      args: [`--models-dir=${models}`, "--allow-artifact-hosts=127.0.0.1"],
      env: { HF_ENDPOINT: proxy.url },
    })
  ).program;
});
beforeEach(() => proxy.open());
afterAll(async () => {
  await stopPrograms();
  await proxy?.close();
  await hub?.close();
  await s3?.close();
  world.remove();
});

interface Answer {
  readonly status: number;
  readonly body: ModelStatus & { readonly error: { readonly code: string; readonly message: string } };
}

async function post(body: object, url = runtime.url, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await fetch(`${url}/v1/model/download`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const json = (await answer.json()) as Answer["body"];
  expect([...Value.Errors(answer.ok ? ModelStatusSchema : ErrorBodySchema, json)]).toEqual([]);
  return { status: answer.status, body: json };
}

async function list(url = runtime.url): Promise<readonly ModelStatus[]> {
  const json = (await (await fetch(`${url}/v1/model/list`)).json()) as ModelList;
  expect([...Value.Errors(ModelListSchema, json)]).toEqual([]);
  return json.data;
}

/** Asks again until the model is here. */
async function fetched(body: object, url = runtime.url): Promise<ModelStatus> {
  let last: Answer | undefined;
  await eventually(async () => {
    last = await post(body, url);
    expect(last.status).toBe(200);
  });
  return last?.body as ModelStatus;
}

const of = async (name: string, url = runtime.url) => (await list(url)).filter((m) => m.model_name === name);

test("a model is brought here, whole; what runs and what is here is listed", async () => {
  proxy.hold(2 ** 20);
  const wish = { model_uri: "acme/big-1", local_dir: join(models, "team") };
  const path = join(models, "team/big-1");
  expect(await post(wish)).toMatchObject({
    status: 202,
    body: {
      model_name: "big-1",
      path,
      state: "Downloading",
      total_bytes: BIG_BYTES + 2,
      files: 2,
      resolved_revision: expect.stringMatching(/^[0-9a-f]{40}$/),
    },
  });
  await eventually(async () => expect((await of("big-1"))[0]?.bytes).toBe(2 ** 20 + 2));
  expect(await of("big-1")).toMatchObject([{ state: "Downloading", bytes_per_second: expect.any(Number) }]);
  expect(existsSync(path)).toBe(false);
  // The same wish joins it; another one for the same folder has to wait.
  expect((await post(wish)).status).toBe(202);
  expect(await post({ ...wish, allow_file_suffix: "json" })).toMatchObject({ status: 409, body: { error: { code: "FolderTaken" } } });
  proxy.open();
  expect(await fetched(wish)).toMatchObject({ state: "Ready", bytes: BIG_BYTES + 2, path });
  expect((await readFile(join(path, "big.safetensors"))).equals(noise(BIG_BYTES, 1))).toBe(true);
  expect(await of("big-1")).toMatchObject([{ state: "Ready", completed_time: expect.any(String) }]);
  expect(proxy.passed()).toBeLessThanOrEqual(BIG_BYTES);
  await rm(join(path, "config.json"));
  expect(await of("big-1")).toMatchObject([{ state: "Failed", error: { code: "ArtifactInvalid", retryable: true } }]);
  expect(await fetched(wish)).toMatchObject({ state: "Ready" });
});

test("with credentials and suffixes of the call, and a name", async () => {
  const wish = {
    model_uri: "hf://acme/gated",
    model_name: "acme/gated",
    allow_file_suffix: "json",
    credentials: { huggingface_token: TOKEN },
  };
  expect(await fetched(wish)).toMatchObject({ path: join(models, "acme_gated"), allow_file_suffix: ["json"] });
  expect((await readdir(join(models, "acme_gated"))).sort()).toEqual(
    [".aibrix-model.json", "config.json", "generation_config.json", "onnx", "tokenizer.json", "tokenizer_config.json"].sort(),
  );
  expect(runtime.output()).not.toContain(TOKEN);
});

test("from S3, with a Secret's keys", async () => {
  const wish = { model_uri: "s3://models/base/tiny", model_name: "from-s3", credentials: s3.secret };
  expect(await fetched(wish)).toMatchObject({ state: "Ready", files: 1 });
});

describe("what cannot work is told at once", () => {
  test.each([
    { name: "no URI of a model", body: { model_uri: "tiny" }, status: 400, code: "InvalidArtifactURL" },
    { name: "a path", body: { model_uri: "/models/tiny" }, status: 400, code: "InvalidArtifactURL" },
    { name: "no URI at all", body: {}, status: 400, code: "InvalidRequest" },
    { name: "an unknown field", body: { model_uri: "acme/tiny", revision: "v1" }, status: 400, code: "InvalidRequest" },
    { name: "a name that walks up", body: { model_uri: "acme/tiny", model_name: ".." }, status: 400, code: "InvalidArtifactURL" },
    { name: "a folder elsewhere", body: { model_uri: "acme/tiny", local_dir: "/tmp" }, status: 400, code: "InvalidRequest" },
    { name: "a folder that walks out", body: { model_uri: "acme/tiny", local_dir: `${models}/../x` }, status: 400, code: "InvalidRequest" },
    { name: "a folder beside", body: { model_uri: "acme/tiny", local_dir: `${models}-2` }, status: 400, code: "InvalidRequest" },
    { name: "our own folder", body: { model_uri: "acme/tiny", local_dir: `${models}/.cache` }, status: 400, code: "InvalidRequest" },
    { name: "no such repository", body: { model_uri: "acme/nothing" }, status: 404, code: "ArtifactNotFound" },
    {
      name: "no such prefix",
      body: () => ({ model_uri: "s3://models/nothing", credentials: s3.secret }),
      status: 404,
      code: "ArtifactNotFound",
    },
    {
      name: "a wrong token",
      body: { model_uri: "acme/gated", model_name: "g", credentials: { huggingface_token: "hf_no" } },
      status: 424,
      code: "ArtifactDenied",
    },
    {
      name: "a stranger for the token",
      body: { model_uri: "acme/gated", model_name: "g2", credentials: { huggingface_token: TOKEN }, credentials_hosts: ["example.com"] },
      status: 422,
      code: "ArtifactNotAllowed",
    },
    {
      name: "storage that is away",
      body: () => ({ model_uri: "s3://models/x", credentials: { ...s3.secret, aws_endpoint_url: "http://127.0.0.1:9" } }),
      status: 502,
      code: "ArtifactUnavailable",
    },
  ])("$name is $status", async ({ body, status, code }) => {
    const answer = await post(typeof body === "function" ? body() : body);
    expect(answer).toMatchObject({ status, body: { error: { code, retryable: status === 502 } } });
    if (status === 502) expect(answer.body.error).toMatchObject({ cause: "ECONNREFUSED" });
  });

  test("a link that leads out, and the folder of a model", async () => {
    await mkdir(world.path("outside"));
    await symlink(world.path("outside"), join(models, "out"));
    expect((await post({ model_uri: "acme/tiny", local_dir: join(models, "out") })).status).toBe(400);
    expect(await readdir(world.path("outside"))).toEqual([]);
    await fetched({ model_uri: "acme/tiny" });
    expect(await post({ model_uri: "acme/big-5", local_dir: join(models, "tiny/deep") })).toMatchObject({
      status: 409,
      body: { error: { code: "FolderTaken" } },
    });
  });

  test("a failure is listed, and the next call tries again", async () => {
    const wish = { model_uri: "acme/later" };
    expect((await post(wish)).status).toBe(404);
    expect(await of("later")).toMatchObject([{ state: "Failed", error: { code: "ArtifactNotFound", retryable: false } }]);
    await cp(join(repos, "acme/tiny"), join(repos, "acme/later"), { recursive: true });
    expect(await fetched(wish)).toMatchObject({ state: "Ready" });
    expect(await of("later")).toMatchObject([{ state: "Ready" }]);
  });
});

test("four at once, and no more; the end keeps what came, and the next process goes on", async () => {
  const dir = world.path("many");
  const own = { args: [`--models-dir=${dir}`, `--artifacts-dir=${world.path("a2")}`], env: { HF_ENDPOINT: proxy.url, POD_UID: "pod-1" } };
  const { program } = await world.runtime("http://127.0.0.1:9", own);
  proxy.hold(3 * 2 ** 20);
  for (const n of [1, 2, 3, 4]) expect((await post({ model_uri: `acme/big-${n}` }, program.url)).status).toBe(202);
  expect(await post({ model_uri: "acme/big-5" }, program.url)).toMatchObject({
    status: 429,
    body: { error: { code: "TooManyDownloads" } },
  });
  await eventually(() => expect(proxy.passed()).toBe(3 * 2 ** 20));
  expect(await program.stop()).toBe(0);
  proxy.open();
  const next = (await world.runtime("http://127.0.0.1:9", own)).program;
  for (const n of [1, 2, 3, 4]) await fetched({ model_uri: `acme/big-${n}` }, next.url);
  // What was on its way between the two comes once more.
  expect(proxy.passed()).toBeLessThan(4 * BIG_BYTES - 2 * 2 ** 20);
  for (const n of [1, 2, 3, 4]) expect((await readFile(join(dir, `big-${n}/big.safetensors`))).equals(noise(BIG_BYTES, n))).toBe(true);
});

test.each(["model/download", "lora_adapter/load", "lora_adapter/unload", "lora_adapter/check"])(
  "a body that is too long is 413: %s",
  async (path) => {
    const { status, body } = await postTooLong(path, runtime.url);
    expect({ status, body }).toMatchObject({ status: 413, body: { error: { code: "PayloadTooLarge", retryable: false } } });
    expect([...Value.Errors(ErrorBodySchema, body)]).toEqual([]);
  },
);

/** Announces a body of more than 256 KiB. The answer comes without it: none of it is sent. */
async function postTooLong(path: string, url: string): Promise<{ readonly status: number | undefined; readonly body: unknown }> {
  const headers = { "content-type": "application/json", "content-length": 256 * 1024 + 1 };
  return await new Promise((resolve, reject) => {
    const call = request(`${url}/v1/${path}`, { method: "POST", headers, agent: false, signal: AbortSignal.timeout(10_000) });
    call.once("error", reject);
    call.once("response", (response) => {
      json(response)
        .then((body) => resolve({ status: response.statusCode, body }), reject)
        .finally(() => call.destroy());
    });
    call.flushHeaders();
  });
}

test("with a token file a download wants the token, the list does not", async () => {
  await writeFile(world.path("token"), "sesame\n");
  const args = [`--token-file=${world.path("token")}`, `--models-dir=${world.path("guarded")}`, `--artifacts-dir=${world.path("a3")}`];
  const { program } = await world.runtime("http://127.0.0.1:9", { args, env: { HF_ENDPOINT: proxy.url } });
  const wish = { model_uri: "acme/tiny" };
  expect((await post(wish, program.url)).status).toBe(401);
  for (const path of ["model/download", "lora_adapter/load"]) expect((await postTooLong(path, program.url)).status, path).toBe(401);
  expect(existsSync(world.path("guarded"))).toBe(false);
  expect(await list(program.url)).toEqual([]);
  expect((await post(wish, program.url, { authorization: "Bearer sesame" })).status).toBeOneOf([200, 202]);
});

import { chmodSync, existsSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { startHub, writeAdapter, writeSafetensors } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Front, startFront } from "./support/front.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { type Runtime, World } from "./support/world.ts";

/* Storage that lists an adapter and then does not give it, and a source that drips. */
const MIB = 2 ** 20;
const DENIED = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
/** Drops the rights that let root read what its mode forbids. */
const WITHOUT_ROOTS_RIGHTS = process.getuid?.() === 0 ? ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] : [];

const world = new World();
let engine: Program;
let s3: S3;
let front: Front;
let runtime: Runtime;

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  front = await startFront(s3.endpoint);
  engine = await world.engine();
  await writeAdapter(world.path("small"), { seed: 1 });
  await s3.putFolder("models", "small", world.path("small"));
  await writeAdapter(world.path("other"), { seed: 2 });
  await s3.putFolder("models", "other", world.path("other"));
  // Three parts, so that a later one can be refused. The engine's base model is another one: what counts is whether they come.
  await writeAdapter(world.path("parts"), { seed: 3 });
  const data = new Float32Array((48 * MIB) / 4);
  await writeSafetensors(world.path("parts/adapter_model.safetensors"), {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": { shape: [8, data.length / 8], data },
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": { shape: [8, 8], data: new Float32Array(64) },
  });
  await s3.putFolder("models", "parts", world.path("parts"));
  runtime = await start("adapters");
});
afterAll(async () => {
  await stopPrograms();
  await front?.close();
  await s3?.close();
  world.remove();
});
afterEach(() => {
  front.rule = () => undefined;
});

const start = async (dir: string, ...args: string[]) =>
  await world.runtime(engine.url, { args: [`--artifacts-dir=${world.path(dir)}`, ...args], wrapper: WITHOUT_ROOTS_RIGHTS });
const load = (name: string, folder: string, on: Runtime = runtime) =>
  on.load(name, `s3://models/${folder}`, { credentials: { ...s3.secret, aws_endpoint_url: front.url } });
const isWeights = (url = "") => url.includes("adapter_model.safetensors");

describe("S3 that lists an adapter, and then answers 403", () => {
  test("for its weights: told with the cause, not tried again by itself, and the next call gets it", async () => {
    front.rule = ({ url }) => (isWeights(url) ? (answer) => answer.writeHead(403).end(DENIED) : undefined);
    await load("later", "small");
    expect(await runtime.failed("later", "ArtifactDenied")).toMatchObject({
      message: expect.stringMatching(/refused the credentials for s3:\/\/models\/small\/ \(AccessDenied\).*read its objects/),
      retryable: false,
      serving: null,
    });
    expect(existsSync(join(world.path("adapters"), "later"))).toBe(false);
    front.rule = () => undefined;
    await load("later", "small");
    await runtime.serves("later");
  });

  test("for a later part of them: what came is no adapter", async () => {
    front.rule = ({ headers }) => (/^bytes=(?!0-)/.test(headers.range ?? "") ? (answer) => answer.writeHead(403).end(DENIED) : undefined);
    await load("part", "parts");
    expect(await runtime.failed("part", "ArtifactDenied")).toMatchObject({ retryable: false, serving: null });
    expect(existsSync(join(world.path("adapters"), "part"))).toBe(false);
    front.rule = () => undefined;
    await load("part", "parts");
    await runtime.until("part", { content_digest: expect.stringMatching(/^sha256:/) });
  });
});

describe("a source that drips, faster than counts as silence", () => {
  const drip = (answer: ServerResponse) => {
    answer.writeHead(200, { "content-length": 10 * MIB });
    const timer = setInterval(() => answer.write("x"), 20);
    answer.once("close", () => clearInterval(timer));
  };

  test("ends at the deadline, and is tried again", async () => {
    const hasty = await start("drips", "--download-timeout=2s");
    front.rule = ({ url = "", method }) => (method === "GET" && isWeights(url) && url.includes("/small/") ? drip : undefined);
    await load("drips", "small", hasty);
    const failed = await hasty.failed("drips", "ArtifactUnavailable");
    expect(failed).toMatchObject({
      message: expect.stringMatching(/s3:\/\/models\/small was not here within 2 s \(--download-timeout\)/),
      retryable: true,
      next_retry_time: expect.any(String),
    });
    front.rule = () => undefined;
    await hasty.serves("drips");
  });
});

test("sources that begin well and then fall silent keep no others waiting, though they are more than are fetched at once", async () => {
  const names = Array.from({ length: 6 }, (_, i) => `silent-${i}`);
  const data = new Float32Array((2 * MIB) / 4);
  for (const name of names) {
    await writeAdapter(world.path(name), { seed: 4 });
    await writeSafetensors(world.path(`${name}/adapter_model.safetensors`), {
      [`${name}.lora_A.weight`]: { shape: [8, data.length / 8], data },
    });
    await s3.putFolder("models", name, world.path(name));
  }
  const begin = (answer: ServerResponse) => void answer.writeHead(200, { "content-length": 2 * MIB + 8 }).write(Buffer.alloc(MIB));
  front.rule = ({ url = "", method }) => (method === "GET" && isWeights(url) && url.includes("/silent-") ? begin : undefined);
  const runtime = await start("silent");
  for (const name of names) await load(name, name, runtime);
  await runtime.until("silent-0", { state: "Downloading" });
  await load("behind", "small", runtime);
  await runtime.serves("behind");
  const { adapters } = await runtime.snapshot();
  const silent = adapters.filter((a) => names.includes(a.lora_name));
  expect(silent.map(({ attempts, state }) => ({ attempts, state }))).toEqual(names.map(() => ({ attempts: 0, state: "Downloading" })));
  expect(silent.find((a) => a.lora_name === "silent-0")?.download).toMatchObject({
    bytes: expect.toSatisfy((n) => n >= MIB),
    bytes_per_second: 0,
  });
});

test("an LFS file of the Hub that is not what its pointer says never reaches the engine", async () => {
  const hub = await startHub({ root: world.path("hub") });
  const way = await startFront(hub.url);
  try {
    await writeAdapter(world.path("hub/acme/lost-bit"), { seed: 5 });
    const weights = readFileSync(world.path("hub/acme/lost-bit/adapter_model.safetensors"));
    const spoilt = weights.with(-1, (weights.at(-1) ?? 0) ^ 1);
    let given = 0;
    way.rule = ({ url = "", method }) => {
      if (method !== "GET" || !url.startsWith("/_storage/")) return undefined;
      given += 1;
      return (answer) => void answer.writeHead(200, { "content-length": spoilt.length }).end(spoilt);
    };
    const runtime = await world.runtime(engine.url, { args: [`--artifacts-dir=${world.path("lost-bit")}`], env: { HF_ENDPOINT: way.url } });
    await runtime.load("lost-bit", "hf://acme/lost-bit");
    expect((await runtime.failed("lost-bit", "ArtifactInvalid")).message).toMatch(/adapter_model\.safetensors.*its sha256 is/);
    expect(given).toBeGreaterThan(0);
    way.rule = () => undefined;
    await runtime.load("lost-bit", "hf://acme/lost-bit");
    await runtime.serves("lost-bit");
  } finally {
    await way.close();
    await hub.close();
  }
});

describe("a folder that may not be read", () => {
  afterEach(() => {
    for (const path of ["other", "other/adapter_model.safetensors"]) chmodSync(world.path(path), 0o755);
  });

  test.each(["other", "other/adapter_model.safetensors"])("%s: named, with the kernel's word and the remedy", async (path) => {
    chmodSync(world.path(path), 0o000);
    await runtime.load("closed", world.path("other"));
    expect(await runtime.failed("closed", "ArtifactDenied")).toMatchObject({
      message: expect.stringMatching(new RegExp(`${path} cannot be read \\(EACCES\\): give the runtime's user access`)),
      retryable: false,
      serving: null,
    });
    chmodSync(world.path(path), 0o755);
    await runtime.load("closed", world.path("other"));
    await runtime.serves("closed");
    await runtime.post("unload", { lora_name: "closed" });
    await runtime.gone("closed");
  });
});

test("a cache that is closed under way is told, and the adapter comes once it is open again", async () => {
  const { promise: asked, resolve } = Promise.withResolvers<ServerResponse>();
  front.rule = ({ url, method }) => (method === "GET" && isWeights(url) ? resolve : undefined);
  await load("a", "other");
  const answer = await asked;
  front.rule = () => undefined;
  const contents = join(world.path("adapters"), ".cache/contents");
  chmodSync(contents, 0o500);
  answer.destroy(); // Asked again, it comes whole.
  expect(await runtime.failed("a", "ArtifactUnavailable")).toMatchObject({
    message: expect.stringMatching(/cannot be used \(EACCES\): give the runtime's user access to it; it is tried again/),
    retryable: true,
    next_retry_time: expect.any(String),
  });
  chmodSync(contents, 0o755);
  await runtime.serves("a");
});

import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { AdapterStatus } from "@aibrix/api";
import { writeAdapter, writeSafetensors } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { type CountingProxy, startProxy } from "./support/proxy.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { type Runtime, World } from "./support/world.ts";

/*
 * A file of 64 MiB from a real S3 server, through a way that counts and cuts. The engine is one that the weights do not fit: what counts here is
 * that their digest is told, which is so once they are here, whole and checked.
 */
const MIB = 2 ** 20;
const SIZE = 64 * MIB;
const URL_OF_BIG = "s3://models/big";
const WAIT_MS = 90_000;
/** For a file of 1 GiB, on a machine that does other things as well. */
const LONG_MS = 240_000;

const world = new World();
let engine: Program;
let s3: S3;
let proxy: CountingProxy;
let runtime: Runtime;
let weights: Buffer;
const started: Runtime[] = [];

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  proxy = await startProxy(s3.endpoint);
  engine = await world.engine();
  await writeAdapter(world.path("big"), { seed: 1 });
  weights = await bigWeights(1);
  await s3.put("models", "big/adapter_config.json", await readFile(world.path("big/adapter_config.json")));
});
afterAll(async () => {
  await stopPrograms();
  await proxy?.close();
  await s3?.close();
  world.remove();
});
beforeEach(async () => {
  await s3.put("models", "big/adapter_model.safetensors", weights);
  Object.assign(proxy, { bytes: 0, cuts: 0, holdAfterBytes: Number.POSITIVE_INFINITY });
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((r) => r.program.kill()));
});

async function bigWeights(first: number): Promise<Buffer> {
  const path = world.path(`weights-${first}`);
  const half = SIZE / 2 / 4;
  const tensor = (shape: number[]) => ({ shape, data: Float32Array.from({ length: half }, (_, i) => first + (i % 1009)) });
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  await writeSafetensors(path, {
    [`${module}.lora_A.weight`]: tensor([8, half / 8]),
    [`${module}.lora_B.weight`]: tensor([half / 8, 8]),
  });
  return await readFile(path);
}

/** A runtime over a folder of its own, which a later one can go on with. */
async function start(dir: string, ...args: string[]): Promise<Runtime> {
  const next = await world.runtime(engine.url, { args: [`--artifacts-dir=${world.path(dir)}`, ...args] });
  started.push(next);
  return next;
}

const load = (name: string) => runtime.load(name, URL_OF_BIG, { credentials: { ...s3.secret, aws_endpoint_url: proxy.url } });

async function here(name: string, timeout: number = WAIT_MS): Promise<AdapterStatus> {
  const want = { content_digest: expect.any(String) };
  return await vi.waitFor(
    async () => {
      const found = (await runtime.snapshot()).adapters.find((a) => a.lora_name === name);
      expect(found).toMatchObject(want);
      return found as AdapterStatus;
    },
    { timeout, interval: 50 },
  );
}

async function underWay(name: string, bytes: number): Promise<void> {
  const enough = expect.toSatisfy((n: unknown) => typeof n === "number" && n >= bytes);
  await runtime.until(name, { state: "Downloading", download: { bytes: enough, total_bytes: expect.any(Number) } });
}

async function stored(dir: string, name: string, digest: string | undefined): Promise<string> {
  const bytes = await readFile(join(world.path(dir), name, String(digest).replace("sha256:", ""), "adapter_model.safetensors"));
  return createHash("sha256").update(bytes).digest("hex");
}
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

test("a runtime that is killed in the middle goes on from there", async () => {
  runtime = await start("killed", "--download-rate-limit=8Mi");
  await load("a");
  await underWay("a", 28 * MIB);
  await runtime.program.kill();
  const before = proxy.bytes;
  runtime = await start("killed");
  await load("a");
  const { content_digest: digest } = await here("a");
  expect(before).toBeLessThan(SIZE);
  expect(proxy.bytes - before).toBeLessThan(SIZE - 10 * MIB);
  expect(await stored("killed", "a", digest)).toBe(sha256(weights));
});

test("connections that are cut are gone on with where they broke", async () => {
  Object.assign(proxy, { cuts: 8, cutAfterBytes: 5 * MIB });
  runtime = await start("cut");
  await load("a");
  const { content_digest: digest } = await here("a");
  expect(proxy.cuts).toBeLessThan(8);
  // What was on its way when a connection was cut is lost; nothing else comes twice.
  expect(proxy.bytes).toBeLessThan(1.5 * SIZE);
  expect(await stored("cut", "a", digest)).toBe(sha256(weights));
});

test("many adapters of one content share one download, and tell its rate", async () => {
  runtime = await start("shared", "--download-rate-limit=32Mi");
  const names = Array.from({ length: 100 }, (_, i) => `a${i}`);
  await Promise.all(names.map((name) => load(name)));
  const rate = expect.toSatisfy((n: unknown) => typeof n === "number" && n > 0);
  await runtime.until("a0", { state: "Downloading", download: { bytes_per_second: rate } });
  const digests = new Set<string | undefined>();
  for (const name of names) digests.add((await here(name)).content_digest);
  expect(digests.size).toBe(1);
  expect(proxy.bytes).toBeLessThan(1.2 * SIZE);
});

test("credentials that are renewed under way go on with what is here", async () => {
  runtime = await start("renewed", "--download-rate-limit=16Mi");
  await load("a");
  await underWay("a", 44 * MIB);
  await runtime.load("a", URL_OF_BIG, { credentials: { ...s3.secret, aws_endpoint_url: proxy.url, aws_region: "us-east-1" } });
  const { content_digest: digest } = await here("a");
  // What sockets kept when their connections were given up comes twice: at most what was missing.
  expect(proxy.bytes).toBeLessThan(SIZE + 30 * MIB);
  expect(await stored("renewed", "a", digest)).toBe(sha256(weights));
});

test("an unload ends a download at once, and frees its room", async () => {
  runtime = await start("unloaded", "--download-rate-limit=4Mi");
  await load("a");
  await underWay("a", 8 * MIB);
  await runtime.post("unload", { lora_name: "a" });
  await runtime.gone("a");
  const left = () => ["partial", "work"].flatMap((part) => readdirSync(join(world.path("unloaded"), ".cache", part)));
  await vi.waitFor(() => expect(left()).toEqual([]), { timeout: 10_000, interval: 20 });
  expect(proxy.bytes).toBeLessThan(SIZE);
});

test("an object that is replaced under way is read anew, and nothing is mixed", async () => {
  const other = await bigWeights(2);
  proxy.holdAfterBytes = 12 * MIB;
  runtime = await start("replaced");
  await load("a");
  await vi.waitFor(() => expect(proxy.bytes).toBeGreaterThanOrEqual(proxy.holdAfterBytes), { timeout: WAIT_MS, interval: 20 });
  // The rest of the old object is held back here, however much sockets keep: what goes on must ask for it, and notice.
  await s3.put("models", "big/adapter_model.safetensors", other);
  const ofOld = proxy.bytes;
  proxy.holdAfterBytes = Number.POSITIVE_INFINITY;
  proxy.cutAll();
  const { content_digest: digest } = await here("a");
  expect(ofOld).toBeLessThan(SIZE / 2);
  expect(await stored("replaced", "a", digest)).toBe(sha256(other));
});

test(
  "a file of 1 GiB comes by ranges, each byte once",
  async () => {
    const chunk = Buffer.alloc(64 * MIB, "weights of a big adapter. ");
    const chunks = 16;
    const half = (chunks * chunk.length) / 2;
    const module = "base_model.model.model.layers.0.self_attn.q_proj";
    const tensor = (shape: number[], start: number) => ({ dtype: "F32", shape, data_offsets: [start, start + half] });
    const text = JSON.stringify({
      [`${module}.lora_A.weight`]: tensor([8, half / 32], 0),
      [`${module}.lora_B.weight`]: tensor([half / 32, 8], half),
    });
    const header = Buffer.alloc(8 + text.length);
    header.writeBigUInt64LE(BigInt(text.length));
    header.write(text, 8);
    const parts = Array.from({ length: chunks }, (_, i) => (i === 0 ? Buffer.concat([header, chunk]) : chunk));
    const hash = createHash("sha256");
    for (const bytes of parts) hash.update(bytes);
    await s3.putParts("models", "huge/adapter_model.safetensors", parts);
    await s3.put("models", "huge/adapter_config.json", await readFile(world.path("big/adapter_config.json")));
    runtime = await start("huge");
    await runtime.load("a", "s3://models/huge", { credentials: { ...s3.secret, aws_endpoint_url: proxy.url } });
    const { content_digest: digest } = await here("a", LONG_MS);
    const size = header.length + chunks * chunk.length;
    expect(proxy.bytes).toBeGreaterThan(size);
    expect(proxy.bytes).toBeLessThan(1.01 * size);
    const manifest = join(world.path("huge"), "a", String(digest).replace("sha256:", ""), ".aibrix-manifest.json");
    const { files } = JSON.parse(await readFile(manifest, "utf8")) as { readonly files: readonly object[] };
    const weights = { name: "adapter_model.safetensors", sizeBytes: size, sha256: hash.digest("hex") };
    expect(files).toContainEqual(expect.objectContaining(weights));
  },
  LONG_MS + WAIT_MS,
);

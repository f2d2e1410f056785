import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCountingProxy } from "./support/counting-proxy.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { complete, type Runtime, World } from "./support/world.ts";

/* Places that hold far more than an adapter, on real servers. */
const world = new World();
let engine: Program;
let hub: Hub;
let s3: S3;
let runtime: Runtime;

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  hub = await startHub({ root: world.path("hub"), treePageSize: 1 });
  await writeAdapter(world.path("adapter"), { seed: 1 });
  engine = await world.engine();
  runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
});
afterAll(async () => {
  await stopPrograms();
  await hub?.close();
  await s3?.close();
  world.remove();
});

/** Objects that were in the bucket's folder before: thousands of uploads would take longer than the test. */
async function lie(prefix: string, keys: readonly string[]): Promise<void> {
  const folder = join(world.path("s3/data/models"), prefix);
  for (const dir of new Set(keys.map((key) => join(folder, key, "..")))) await mkdir(dir, { recursive: true });
  for (const key of keys) await writeFile(join(folder, key), "x");
}
const numbered = (count: number, name: (i: number) => string) => Array.from({ length: count }, (_, i) => name(i));

test("two files among 3,000 other objects, at the top and in folders below", async () => {
  await lie("huge", [
    ...numbered(1_500, (i) => `a-events.out.${i}`),
    ...numbered(750, (i) => `checkpoint-${i}/optimizer.pt`),
    ...numbered(750, (i) => `z/${i % 10}/${i}/adapter_model.safetensors`),
  ]);
  await s3.putFolder("models", "huge", world.path("adapter"));
  await runtime.load("huge", "s3://models/huge", { credentials: s3.secret });
  await runtime.serves("huge");
  expect((await complete(engine, "huge")).status).toBe(200);
});

test("only the files that count are asked for their hashes", async () => {
  const proxy = await startCountingProxy(s3.endpoint);
  const adapter = ["adapter_config.json", "adapter_model.safetensors"];
  for (const name of adapter) await s3.put("models", `summed/${name}`, await readFile(world.path(`adapter/${name}`)), "SHA256");
  for (const name of numbered(20, (i) => `events.out.${i}`)) await s3.put("models", `summed/${name}`, Buffer.from("x"), "SHA256");
  await runtime.load("summed", "s3://models/summed", { credentials: { ...s3.secret, aws_endpoint_url: proxy.url } });
  await runtime.serves("summed");
  const heads = new Set(proxy.calls.filter((call) => call.startsWith("HEAD ")));
  await proxy.close();
  expect([...heads].sort()).toEqual(adapter.map((name) => `HEAD /models/summed/${name}`));
});

test("more objects than are listed: not the part of them that was seen, but an error that says what to write", async () => {
  await s3.putFolder("models", "endless", world.path("adapter"));
  await lie(
    "endless",
    numbered(20_100, (i) => `b-${i}`),
  );
  await runtime.load("endless", "s3://models/endless/", { credentials: s3.secret });
  expect(await runtime.failed("endless", "ArtifactInvalid")).toMatchObject({
    message: expect.stringMatching(/s3:\/\/models\/endless\/ holds more than 20000 entries \(20000 files .*write the URL of the folder/),
    retryable: false,
    serving: null,
  });
});

test("a repository with more entries than are listed", async () => {
  await writeAdapter(world.path("hub/acme/endless"), { seed: 1 });
  for (const name of numbered(30, (i) => `z-${i}.md`)) await writeFile(world.path(`hub/acme/endless/${name}`), "x");
  await runtime.load("repo", "hf://acme/endless");
  expect((await runtime.failed("repo", "ArtifactInvalid")).message).toMatch(/huggingface:\/\/acme\/endless holds more than 20 entries/);
});

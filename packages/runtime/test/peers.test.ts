import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { writeAdapter, writeSafetensors } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Front, startFront } from "./support/front.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { complete, type Runtime, World } from "./support/world.ts";

/*
 * A moving reference whose source has moved on, and keeps nothing of before: pods that join get the decided content from those that have it.
 */

const MIB = 2 ** 20;
const TOKEN = "peers-token";
const WEIGHTS = "adapter_model.safetensors";

const world = new World();
let s3: S3;
/** The ways to the S3 server, and to the sidecar of the pod that has the content. */
let storage: Front;
let first: Front;
let engines: readonly [Program, Program];
let has: Runtime;
let digest: string;
let prefix: string;
let turn = 0;
/** Calls for the content that came to the first pod. */
let asked: string[];
/** Runtimes of the second engine, which the next test finds as it was. */
const joined: Runtime[] = [];
let joinedToken = TOKEN;

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  storage = await startFront(s3.endpoint);
  engines = [await world.engine(), await world.engine()];
  writeFileSync(world.path("token"), TOKEN);
  writeFileSync(world.path("other-token"), "joins-own-7f3a");
  has = await start("first", engines[0], ["--token-file", world.path("token")]);
  first = await startFront(has.url);
});
afterAll(async () => {
  await stopPrograms();
  await storage?.close();
  await first?.close();
  await s3?.close();
  world.remove();
});

beforeEach(async () => {
  turn += 1;
  prefix = `moving-${turn}`;
  asked = [];
  storage.rule = () => undefined;
  first.rule = count;
});
afterEach(async () => {
  for (const runtime of [has, ...joined]) {
    await post(runtime, "unload", { lora_name: "x" }, runtime === joined[0] ? joinedToken : TOKEN);
    await runtime.gone("x");
  }
  for (const runtime of joined.splice(0)) await runtime.program.stop();
});

const count = ({ url = "" }: { url?: string | undefined }) => {
  asked.push(url);
  return undefined;
};
const start = (dir: string, engine: Program, args: readonly string[] = []) =>
  world.runtime(engine.url, { args: [`--artifacts-dir=${world.path(`${dir}-${turn}`)}`, ...args] });
/** A pod that joins; the content of its `--token-file`, where it has one, is `token`. */
async function joining(args: readonly string[] = ["--token-file", world.path("token")], token = TOKEN): Promise<Runtime> {
  const runtime = await start("joins", engines[1], args);
  joined.push(runtime);
  joinedToken = token;
  return runtime;
}

async function post(runtime: Runtime, call: string, body: object, token = TOKEN): Promise<number> {
  const response = await fetch(`${runtime.url}/v1/lora_adapter/${call}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  await response.text();
  return response.status;
}

const secret = () => ({ ...s3.secret, aws_endpoint_url: storage.url });
const load = (runtime: Runtime, more: object = {}, token = TOKEN) =>
  post(runtime, "load", { lora_name: "x", artifact_url: `s3://models/${prefix}`, credentials: secret(), ...more }, token);
const decided = () => ({ content: { digest }, peers: [first.url] });

/** Puts other content where the first pod has found what it serves. */
async function overwrite(seed: number): Promise<void> {
  const folder = world.path(`content-${turn}-${seed}`);
  await writeAdapter(folder, { seed });
  await s3.putFolder("models", prefix, folder);
}

/** Lets the first pod decide, and the source move on then. */
async function moved(): Promise<void> {
  await overwrite(1);
  await load(has);
  digest = (await has.serves("x")).content_digest ?? "";
  await overwrite(2);
}

const answerOf = async (engine: Program) => JSON.parse((await complete(engine, "x")).text).choices[0].text as string;

test("a pod that joins serves exactly what the first one does, and remembers it as that", async () => {
  await moved();
  const joins = await joining();
  await load(joins, decided());
  const served = await joins.serves("x");
  expect([served.content_digest, served.serving?.content_digest]).toEqual([digest, digest]);
  expect(await answerOf(engines[1])).toBe(await answerOf(engines[0]));
  expect(asked.filter((url) => url.endsWith(WEIGHTS))).toHaveLength(1);
  // What the source gives now is still another content, and not taken for this one.
  await load(joins);
  const now = await joins.until("x", { state: "Serving", content_digest: expect.not.stringContaining(digest) });
  expect(now.content_digest).not.toBe(digest);
});

test("what is to come next comes from another pod as well", async () => {
  await overwrite(3);
  const joins = await joining();
  await load(joins);
  await joins.serves("x");
  await moved();
  const body = { lora_name: "x", artifact_url: `s3://models/${prefix}`, credentials: secret(), ...decided() };
  expect(await post(joins, "prepare", body)).toBe(202);
  await joins.until("x", { state: "Serving", prepared: { state: "Ready", content_digest: digest } });
});

test("without a token of its own a pod asks nobody, and says what to do", async () => {
  await moved();
  const joins = await joining([]);
  await load(joins, decided());
  const failed = await joins.failed("x", "ArtifactChanged");
  expect(failed).toMatchObject({ retryable: false, message: expect.stringMatching(/refresh.*--token-file/s) });
  expect(asked).toEqual([]);
});

test("nobody knows a pod that has it: told so, and the same call with one gets it", async () => {
  await moved();
  const joins = await joining();
  await load(joins, { content: { digest } });
  const failed = await joins.failed("x", "ArtifactChanged");
  expect(failed).toMatchObject({ retryable: false, message: expect.stringContaining("no other pod that has it is known") });
  let reads = 0;
  storage.rule = ({ url = "" }) => {
    if (url.includes(WEIGHTS)) reads += 1;
    return undefined;
  };
  await load(joins, decided());
  await joins.serves("x");
  // One byte of it shows that it may be read; it was seen before that it is another content.
  expect(reads).toBe(1);
});

test("another token gives nothing, and is not told", async () => {
  await moved();
  const joins = await joining(["--token-file", world.path("other-token")], "joins-own-7f3a");
  await load(joins, decided(), "joins-own-7f3a");
  const failed = await joins.failed("x", "ArtifactChanged");
  expect(failed).toMatchObject({ retryable: false, message: expect.stringContaining("the same --token-file") });
  expect(failed.message).not.toMatch(/peers-token|joins-own/);
  expect(asked).toHaveLength(1);
});

test("a pod that gives other bytes under the right names is refused, and the next one is asked", async () => {
  await moved();
  const liar = await startFront(has.url);
  try {
    liar.rule = ({ url = "" }) =>
      url.endsWith(WEIGHTS)
        ? (answer) => answer.end(Buffer.alloc(statSync(`${world.path(`content-${turn}-1`)}/${WEIGHTS}`).size, 7))
        : undefined;
    const joins = await joining();
    await load(joins, { ...decided(), peers: [liar.url] });
    const failed = await joins.failed("x", "ArtifactChanged");
    expect(failed.message).toContain("sha256");
    await load(joins, { ...decided(), peers: [liar.url, first.url] });
    expect((await joins.serves("x")).content_digest).toBe(digest);
  } finally {
    await liar.close();
  }
});

test("a pod that goes in the middle: the next one is asked for what is missing", async () => {
  const folder = world.path(`large-${turn}`);
  await writeAdapter(folder, { seed: 1 });
  // Three parts of 16 MiB.
  const data = new Float32Array((48 * MIB) / 4);
  await writeSafetensors(`${folder}/${WEIGHTS}`, {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": { shape: [8, data.length / 8], data },
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": { shape: [8, 8], data: new Float32Array(64) },
  });
  await s3.putFolder("models", prefix, folder);
  await load(has);
  // The base model is another one: what counts is that it is there.
  digest = (await has.until("x", { content_digest: expect.any(String) })).content_digest ?? "";
  await overwrite(2);
  const goes = await startFront(has.url);
  try {
    // It gives the first part and is gone.
    goes.rule = ({ url = "", headers }) =>
      url.endsWith(WEIGHTS) && headers.range !== `bytes=0-${16 * MIB - 1}` ? (answer) => void answer.destroy() : undefined;
    const joins = await joining();
    await load(joins, { ...decided(), peers: [goes.url, first.url] });
    const there = await joins.until("x", { content_digest: digest });
    expect(there.content_digest).toBe(digest);
    expect(asked.some((url) => url.endsWith(WEIGHTS))).toBe(true);
  } finally {
    await goes.close();
  }
});

test("who may not read the source any more gets nothing from other pods either", async () => {
  await moved();
  const joins = await joining();
  const denied = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
  // Listed as ever, and read by nobody.
  storage.rule = ({ url = "" }) => (url.includes(WEIGHTS) ? (answer) => answer.writeHead(403).end(denied) : undefined);
  await load(joins, decided());
  await joins.failed("x", "ArtifactDenied");
  expect(asked).toEqual([]);
  // Nor where it was seen before that the content is another one.
  storage.rule = () => undefined;
  await load(joins, { content: { digest } });
  await joins.failed("x", "ArtifactChanged");
  storage.rule = ({ url = "" }) => (url.includes(WEIGHTS) ? (answer) => answer.writeHead(403).end(denied) : undefined);
  await load(joins, decided());
  await joins.failed("x", "ArtifactDenied");
  expect(asked).toEqual([]);
});

test("where nothing is left at the source nobody can show that it may be read: no pod is asked, and that is told", async () => {
  await moved();
  await rm(world.path(`s3/data/models/${prefix}`), { recursive: true });
  const joins = await joining();
  await load(joins, decided());
  const failed = await joins.failed("x", "ArtifactNotFound");
  expect(failed.message).toContain("put the files back");
  expect(asked).toEqual([]);
});

test("a pod that is away is tried again by itself, until it is back", async () => {
  await moved();
  first.rule = ({ url = "" }) => (url.includes("/v1/contents/") ? (answer) => answer.writeHead(502).end() : undefined);
  const joins = await joining();
  await load(joins, decided());
  await joins.until("x", { state: "Failed", reason: "ArtifactChanged", retryable: true, next_retry_time: expect.any(String) });
  first.rule = count;
  await joins.serves("x");
});

test("pods of one volume give it to each other without a token, by the volume", async () => {
  await overwrite(1);
  const shared = async (pod: string, engine: Program) => {
    const args = [`--artifacts-dir=${world.path(`shared-${turn}`)}`, `--pod-folder=${pod}`];
    joined.push(await world.runtime(engine.url, { args }));
    return joined.at(-1) as Runtime;
  };
  mkdirSync(world.path(`shared-${turn}`));
  const here = await shared("a", engines[0]);
  await load(here);
  digest = (await here.serves("x")).content_digest ?? "";
  await overwrite(2);
  const joins = await shared("b", engines[1]);
  await load(joins, { content: { digest } });
  expect((await joins.serves("x")).content_digest).toBe(digest);
});

test("an archive that is pinned by its own digest, and is another one by now: what was in it comes from another pod", async () => {
  const archive = async (seed: number) => {
    const folder = world.path(`archived-${seed}`);
    await writeAdapter(folder, { seed });
    return execFileSync("tar", ["-C", folder, "-cf", "-", "."]);
  };
  const [one, two] = [await archive(1), await archive(2)];
  let now = one;
  storage.rule = (call) => (answer) => {
    answer.writeHead(200, { "content-length": String(now.length), etag: `"${now === one ? 1 : 2}"` });
    answer.end(call.method === "HEAD" ? undefined : now);
  };
  const artifact_url = `${storage.url}/a.tar#sha256=${createHash("sha256").update(one).digest("hex")}`;
  await load(has, { artifact_url, credentials: {} });
  digest = (await has.serves("x")).content_digest ?? "";
  now = two;
  const joins = await joining();
  await load(joins, { artifact_url, credentials: {}, ...decided() });
  expect((await joins.serves("x")).content_digest).toBe(digest);
  expect(asked.filter((url) => url.endsWith(WEIGHTS))).toHaveLength(1);
});

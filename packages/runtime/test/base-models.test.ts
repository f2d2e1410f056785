// aibrix_download, with a real Hub and a real S3 server.
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Hub, type HubCall, startHub, writeBaseModel } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MODEL_MANIFEST, type ModelManifest } from "../src/models/manifest.ts";
import { download, startDownload, stopDownloads } from "./support/downloader.ts";
import { type GatedProxy, startGatedProxy } from "./support/gated-proxy.ts";
import { noise } from "./support/noise.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { eventually, World } from "./support/world.ts";

const world = new World();
const TOKEN = "hf_test-token-of-the-hub";
const BIG_BYTES = 48 * 2 ** 20;
const repos = world.path("hub");
const calls: HubCall[] = [];
let hub: Hub;
let proxy: GatedProxy;
let s3: S3;
let models: string;
let count = 0;

beforeAll(async () => {
  const tiny = join(repos, "acme/tiny");
  await writeBaseModel(tiny);
  await mkdir(join(tiny, "onnx/decoder"), { recursive: true });
  await writeFile(join(tiny, "onnx/decoder/model.onnx"), noise(3_000, 1));
  await writeFile(join(tiny, "onnx/config.json"), "{}");
  await writeFile(join(tiny, "README.md"), "# Tiny\n");
  await writeFile(join(tiny, "empty.txt"), "");
  await cp(tiny, join(repos, "acme/tiny@v2"), { recursive: true });
  await writeFile(join(repos, "acme/tiny@v2/README.md"), "# Tiny, again\n");
  await cp(tiny, join(repos, "other/tiny"), { recursive: true });
  await cp(tiny, join(repos, "acme/gated"), { recursive: true });
  await writeFile(join(repos, "acme/gated/.gated"), "");
  await mkdir(join(repos, "acme/big/weights"), { recursive: true });
  await writeFile(join(repos, "acme/big/config.json"), "{}");
  await writeFile(join(repos, "acme/big/weights/model.safetensors"), noise(BIG_BYTES, 2));
  hub = await startHub({ root: repos, token: TOKEN, treePageSize: 3, onCall: (call) => calls.push(call) });
  proxy = await startGatedProxy(hub.url, /model\.safetensors/);
  s3 = await startS3(world.path("s3"));
  for (const name of await filesIn(tiny)) await s3.put("models", `base/tiny/${name}`, await readFile(join(tiny, name)));
  await s3.put("models", "base/tiny/weights/part-1.bin", noise(20 * 2 ** 20, 3));
  await s3.put("models", "base/tiny-other/config.json", Buffer.from("{}"));
});
beforeEach(() => {
  count += 1;
  models = world.path(`models-${count}`);
  calls.length = 0;
  proxy.open();
});
afterEach(stopDownloads);
afterAll(async () => {
  await proxy?.close();
  await hub?.close();
  await s3?.close();
  world.remove();
});

/** Paths of the files below a folder, sorted. */
async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name).slice(dir.length + 1));
  return paths.sort();
}

async function manifestOf(dir: string): Promise<ModelManifest> {
  return JSON.parse(await readFile(join(dir, MODEL_MANIFEST), "utf8")) as ModelManifest;
}

/** Every file is there, as it is where it comes from, and the manifest lists just these. */
async function isWhole(dir: string, from: string, names?: readonly string[]): Promise<ModelManifest> {
  const wanted = names ?? (await filesIn(from));
  expect(await filesIn(dir)).toEqual([...wanted, MODEL_MANIFEST].sort());
  for (const name of wanted) expect((await readFile(join(dir, name))).equals(await readFile(join(from, name))), name).toBe(true);
  const manifest = await manifestOf(dir);
  expect(manifest.files.map((f) => f.name).sort()).toEqual([...wanted].sort());
  return manifest;
}

/** Nothing is left of the download beside the model. */
async function leavesNothingElse(...names: readonly string[]): Promise<void> {
  expect((await readdir(models)).sort()).toEqual([".cache", ...names].sort());
  expect(await filesIn(join(models, ".cache"))).toEqual([]);
}

const env = () => ({ HF_ENDPOINT: proxy.url, POD_UID: "pod-1" });
const contentCalls = () => calls.filter((c) => /\/resolve\/|\/_storage\//.test(c.url));

describe("from the Hub", () => {
  test("the whole model, with its folders", async () => {
    const ended = await download(["--model-uri=acme/tiny", `--local-dir=${models}`], env());
    expect(ended).toMatchObject({ code: 0, stdout: `${join(models, "tiny")}\n` });
    expect(ended.stderr).toContain("the model is here: ");
    const manifest = await isWhole(join(models, "tiny"), join(repos, "acme/tiny"));
    expect(manifest.resolved_revision).toMatch(/^[0-9a-f]{40}$/);
    await leavesNothingElse("tiny");
  });

  test("a second run downloads nothing, and says so", async () => {
    const args = ["--model-uri=acme/tiny", `--local-dir=${models}`];
    expect((await download(args, env())).code).toBe(0);
    const { completed_at: first } = await manifestOf(join(models, "tiny"));
    expect(contentCalls().length).toBeGreaterThan(0);
    calls.length = 0;
    const again = await download(args, env());
    expect(again).toMatchObject({ code: 0, stdout: `${join(models, "tiny")}\n` });
    expect(again.stderr).toContain("nothing was downloaded");
    expect(contentCalls()).toEqual([]);
    expect((await manifestOf(join(models, "tiny"))).completed_at).toBe(first);
  });

  test("a file that somebody took away is brought again", async () => {
    const args = ["--model-uri=acme/tiny", `--local-dir=${models}`];
    await download(args, env());
    await rm(join(models, "tiny/onnx/decoder/model.onnx"));
    expect((await download(args, env())).stderr).toContain("the model is here: ");
    await isWhole(join(models, "tiny"), join(repos, "acme/tiny"));
  });

  test("a commit that is here is not asked for", async () => {
    await download(["--model-uri=acme/tiny", `--local-dir=${models}`], env());
    const { resolved_revision: commit = "" } = await manifestOf(join(models, "tiny"));
    const args = [`--model-uri=acme/tiny@${commit}`, `--local-dir=${models}`];
    expect((await download(args, env())).code).toBe(0);
    calls.length = 0;
    expect((await download(args, env())).stderr).toContain("nothing was downloaded");
    expect(calls).toEqual([]);
  });

  test("only files with the suffixes that are wanted, by flag and by variable", async () => {
    const wanted = [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "onnx/config.json",
      "tokenizer.json",
      "tokenizer_config.json",
    ];
    const args = ["--model-uri=acme/tiny", `--local-dir=${models}`];
    expect((await download([...args, "--allow-file-suffix=json, safetensors"], env())).code).toBe(0);
    await isWhole(join(models, "tiny"), join(repos, "acme/tiny"), wanted);
    const same = await download(args, { ...env(), DOWNLOADER_ALLOW_FILE_SUFFIX: "safetensors,json" });
    expect(same.stderr).toContain("nothing was downloaded");
    // Other files are another wish.
    expect((await download(args, env())).stderr).toContain("the model is here: ");
    await isWhole(join(models, "tiny"), join(repos, "acme/tiny"));
    const none = await download([...args, "--allow-file-suffix=gguf"], env());
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("none of the 9 files of huggingface://acme/tiny ends in gguf") });
  });

  test("another revision takes the place of the one that was there; another model does not", async () => {
    const dir = `--local-dir=${models}`;
    await download(["--model-uri=acme/tiny", dir], env());
    expect((await download(["--model-uri=acme/tiny@v2", dir], env())).code).toBe(0);
    await isWhole(join(models, "tiny"), join(repos, "acme/tiny@v2"));
    await leavesNothingElse("tiny");
    const other = await download(["--model-uri=other/tiny", dir], env());
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining("holds huggingface://acme/tiny@v2") });
    expect((await download(["--model-uri=other/tiny", dir, "--model-name=other/tiny"], env())).stdout).toBe(
      `${join(models, "other_tiny")}\n`,
    );
    await isWhole(join(models, "tiny"), join(repos, "acme/tiny@v2"));
  });

  test("what somebody else put there is left alone", async () => {
    await mkdir(join(models, "tiny"), { recursive: true });
    await writeFile(join(models, "tiny/notes.txt"), "mine");
    const ended = await download(["--model-uri=acme/tiny", `--local-dir=${models}`], env());
    expect(ended).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("FolderTaken") });
    expect(await filesIn(join(models, "tiny"))).toEqual(["notes.txt"]);
    expect(contentCalls()).toEqual([]);
  });

  test("a Hub that is away does no harm where the model is here", async () => {
    const args = ["--model-uri=acme/tiny", `--local-dir=${models}`];
    await download(args, env());
    const away = { ...env(), HF_ENDPOINT: "http://127.0.0.1:9" };
    const ended = await download(args, away);
    expect(ended).toMatchObject({ code: 0, stderr: expect.stringContaining("whether it is the newest is not known") });
    const other = await download(["--model-uri=acme/big", `--local-dir=${models}`], away);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/ArtifactUnavailable.*127\.0\.0\.1:9/s) });
  });

  test.each([
    { name: "a repository that is not there", uri: "acme/nothing", says: "ArtifactNotFound" },
    { name: "a revision that is not there", uri: "acme/tiny@nothing", says: "no revision" },
    { name: "a gated one without a token", uri: "acme/gated", says: "ArtifactDenied" },
    { name: "a gated one with a wrong token", uri: "acme/gated", token: "hf_wrong-token-of-somebody", says: "ArtifactDenied" },
  ])("$name: exit code 1, and nothing in the folder", async ({ uri, token, says }) => {
    const ended = await download([`--model-uri=${uri}`, `--local-dir=${models}`], { ...env(), HF_TOKEN: token });
    expect(ended).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(says) });
    expect(ended.stderr).not.toContain("hf_wrong");
    expect((await readdir(models)).filter((n) => !n.startsWith("."))).toEqual([]);
  });

  test("credentials from a mounted Secret", async () => {
    const secret = world.path("secret");
    await mkdir(join(secret, "..data"), { recursive: true });
    await writeFile(join(secret, "huggingface_token"), `${TOKEN}\n`);
    const args = ["--model-uri=acme/gated", `--local-dir=${models}`];
    const ended = await download([...args, `--credentials-dir=${secret}`], env());
    expect(ended.code).toBe(0);
    expect(ended.stderr).not.toContain(TOKEN);
    expect(JSON.stringify(await manifestOf(join(models, "gated")))).not.toContain(TOKEN);
  });
});

describe("what ends it", () => {
  const args = () => ["--model-uri=acme/big", `--local-dir=${models}`];

  test("killed in the middle: no model is there, and the next run goes on", async () => {
    proxy.hold(30 * 2 ** 20);
    const first = startDownload(args(), env());
    await eventually(() => expect(proxy.passed()).toBe(30 * 2 ** 20));
    // What is on its way to the disk yet may be lost; each connection keeps less than 512 KiB of it for its next write.
    await eventually(async () => expect(await bytesWritten(models)).toBeGreaterThan(28 * 2 ** 20));
    expect(existsSync(join(models, "big"))).toBe(false);
    first.signal("SIGKILL");
    expect((await first.ended).code).toBe(null);
    expect(existsSync(join(models, "big"))).toBe(false);
    proxy.open();
    expect((await download(args(), env())).code).toBe(0);
    // Of each of its connections at most what was not noted yet comes twice.
    expect(proxy.passed()).toBeLessThan(BIG_BYTES - 10 * 2 ** 20);
    await isWhole(join(models, "big"), join(repos, "acme/big"));
    await leavesNothingElse("big");
  });

  /** What the files of a folder take on the disk: of a file that has its size from the start, what was written. */
  async function bytesWritten(dir: string): Promise<number> {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    const sizes = entries.filter((e) => e.isFile()).map(async (e) => (await stat(join(e.parentPath, e.name))).blocks * 512);
    return (await Promise.all(sizes)).reduce((sum, n) => sum + n, 0);
  }

  test("asked to end: exit code 1, what came is kept to the byte", async () => {
    proxy.hold(20 * 2 ** 20);
    const first = startDownload(args(), env());
    await eventually(() => expect(proxy.passed()).toBe(20 * 2 ** 20));
    first.signal("SIGTERM");
    expect(await first.ended).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("the next run goes on with it") });
    expect(existsSync(join(models, "big"))).toBe(false);
    proxy.open();
    expect((await download(args(), env())).code).toBe(0);
    expect(proxy.passed()).toBeLessThan(BIG_BYTES - 10 * 2 ** 20);
    await isWhole(join(models, "big"), join(repos, "acme/big"));
  });

  test("two at once, of two pods: one downloads, both have it", async () => {
    proxy.hold(2 ** 20);
    const one = startDownload(args(), { ...env(), POD_UID: "pod-1" });
    await eventually(() => expect(proxy.passed()).toBe(2 ** 20));
    const other = startDownload(args(), { ...env(), POD_UID: "pod-2" });
    await eventually(() => expect(other.stderr()).toContain("2 files"));
    proxy.open();
    expect([(await one.ended).code, (await other.ended).code]).toEqual([0, 0]);
    expect([one.stderr(), other.stderr()].filter((t) => t.includes("nothing was downloaded"))).toHaveLength(1);
    expect(proxy.passed()).toBeLessThanOrEqual(BIG_BYTES);
    await isWhole(join(models, "big"), join(repos, "acme/big"));
  });
});

describe("from S3", () => {
  const args = () => ["--model-uri=s3://models/base/tiny/", `--local-dir=${models}`];
  const own = () => ({ AWS_ENDPOINT_URL: s3.endpoint, AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey });

  test("every object under the prefix, with its folders, by ranges", async () => {
    expect(await download(args(), own())).toMatchObject({ code: 0, stdout: `${join(models, "tiny")}\n` });
    const part = "weights/part-1.bin";
    expect((await readFile(join(models, "tiny", part))).equals(noise(20 * 2 ** 20, 3))).toBe(true);
    const files = (await filesIn(join(models, "tiny"))).filter((n) => n !== part && n !== MODEL_MANIFEST);
    expect(files).toEqual(await filesIn(join(repos, "acme/tiny")));
    for (const name of files)
      expect((await readFile(join(models, "tiny", name))).equals(await readFile(join(repos, "acme/tiny", name))), name).toBe(true);
    expect((await download(args(), own())).stderr).toContain("nothing was downloaded");
  });

  test("a name that would leave the folder is refused", async () => {
    await s3.put("models", "base/evil/config.json", Buffer.from("{}"));
    await s3.put("models", "base/evil/a\\..\\b.json", Buffer.from("{}"));
    const ended = await download(["--model-uri=s3://models/base/evil", `--local-dir=${models}`], own());
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot be a path here") });
    expect(existsSync(join(models, "evil"))).toBe(false);
  });

  test.each([
    { name: "a wrong key", env: { AWS_SECRET_ACCESS_KEY: "wrong-key-of-somebody" }, uri: "s3://models/base/tiny", says: "ArtifactDenied" },
    { name: "a bucket that is not there", env: {}, uri: "s3://nothing/base", says: "ArtifactNotFound" },
    { name: "a prefix that is not there", env: {}, uri: "s3://models/nothing", says: "ArtifactNotFound" },
  ])("$name: exit code 1", async ({ env: more, uri, says }) => {
    const ended = await download([`--model-uri=${uri}`, `--local-dir=${models}`], { ...own(), ...more });
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining(says) });
    expect(ended.stderr).not.toContain("wrong-key");
  });
});

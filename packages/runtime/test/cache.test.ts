import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { copyFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Hub, type HubCall, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { testStore } from "./fakes.ts";
import { crashingAt } from "./support/crash.ts";
import { runProgram, stopPrograms } from "./support/program.ts";
import { complete, eventually, type Runtime, World } from "./support/world.ts";

const TOKEN = "hf_test-token-of-the-hub";
let world: World;
let hub: Hub;
let calls: HubCall[];

beforeEach(async () => {
  world = new World();
  calls = [];
  hub = await startHub({ root: world.path("hub"), token: TOKEN, onCall: (call) => calls.push(call) });
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
  world.remove();
});

const names = (count: number) => Array.from({ length: count }, (_, i) => `a${i}`);
const pod = async (engineUrl: string, name: string, more: { env?: NodeJS.ProcessEnv; args?: readonly string[] } = {}) =>
  await world.runtime(engineUrl, { env: { HF_ENDPOINT: hub.url, POD_UID: name, ...more.env }, args: more.args ?? [] });
/** How often the weights of each repository were fetched as a whole: a part is read to see whether that is allowed. */
function fetches(): Readonly<Record<string, number>> {
  const count: Record<string, number> = {};
  for (const { method, url, status, part } of calls) {
    const repo =
      method === "GET" && !part && status < 400 ? /^\/(acme\/[^/]+)\/resolve\/.*\/adapter_model\.safetensors/.exec(url)?.[1] : undefined;
    if (repo !== undefined) count[repo] = (count[repo] ?? 0) + 1;
  }
  return count;
}

test("two pods that need the same twenty adapters at once download each one once; what one drops the other keeps", async () => {
  const all = names(20);
  for (const [i, name] of all.entries()) await writeAdapter(world.path(`hub/acme/${name}`), { seed: i + 1 });
  const engines = [await world.engine(), await world.engine()] as const;
  const one = await pod(engines[0].url, "pod-1");
  const two = await pod(engines[1].url, "pod-2");
  await Promise.all([one, two].flatMap((runtime) => all.map((name) => runtime.load(name, `hf://acme/${name}`))));
  for (const runtime of [one, two]) for (const name of all) await runtime.serves(name);
  expect(fetches()).toEqual(Object.fromEntries(all.map((name) => [`acme/${name}`, 1])));
  expect(readdirSync(join(world.artifacts, ".cache/contents"))).toHaveLength(20);
  const path = (await two.serves("a0")).serving?.path ?? "";
  expect(path).toMatch(/\/artifacts\/pods\/pod-2\/a0\/[0-9a-f]{64}$/);
  expect((await stat(join(path, "adapter_model.safetensors"))).nlink).toBe(3);

  for (const name of all) await one.post("unload", { lora_name: name, cleanup_local: true });
  for (const name of all) await one.gone(name);
  await engines[0].kill();
  await world.engine({ port: new URL(engines[0].url).port });
  const left = () => readdirSync(join(world.artifacts, "pods/pod-1")).filter((name) => !name.startsWith("."));
  await eventually(() => expect(left()).toEqual([]));
  // Past what the engine keeps in memory, so that it reads files again.
  for (const name of all) expect((await complete(engines[1], name)).status).toBe(200);
  expect(fetches()).toEqual(Object.fromEntries(all.map((name) => [`acme/${name}`, 1])));
  expect((await one.text("/metrics")).text).toMatch(/^aibrix_runtime_cache_entries\{volume="[^"]*"\} \d+$/m);
});

test("when the pod that downloads is killed, the other one goes on", async () => {
  await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
  const engine = await world.engine();
  const crash = crashingAt({ op: "write", path: "adapter_model.safetensors$", when: "after" });
  const killed = await pod(engine.url, "pod-1", { env: crash });
  await killed.load("a", "hf://acme/a").catch(() => undefined);
  await eventually(() => expect(() => process.kill(killed.program.pid, 0)).toThrow("ESRCH"));
  expect(readdirSync(join(world.artifacts, ".cache/locks"))).toHaveLength(1);
  const other = await pod(engine.url, "pod-2");
  await other.load("a", "hf://acme/a");
  const status = await longer(() => other.serves("a"));
  const weights = (folder: string) => readFileSync(join(folder, "adapter_model.safetensors")).toString("base64");
  expect(weights(status.serving?.path ?? "")).toBe(weights(world.path("hub/acme/a")));
  await eventually(() => expect(readdirSync(join(world.artifacts, ".cache/locks"))).toEqual([]));
});

/** Longer than one wait: a lock is believed for 15 seconds. */
async function longer<T>(wait: () => Promise<T>): Promise<T> {
  return await wait().catch(wait);
}

test("the same content under two names is downloaded once", async () => {
  await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
  const engine = await world.engine();
  const runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url } });
  await Promise.all(["x", "y", "z"].map((name) => runtime.load(name, "hf://acme/a")));
  for (const name of ["x", "y", "z"]) await runtime.serves(name);
  expect(fetches()).toEqual({ "acme/a": 1 });
  const metrics = (await runtime.text("/metrics")).text;
  expect(metrics).toMatch(/^aibrix_runtime_cache_hits_total 2$/m);
  expect(metrics).toMatch(/^aibrix_runtime_cache_misses_total 1$/m);
});

describe("what a token brought here is nobody else's", () => {
  const withToken = { credentials: { huggingface_token: TOKEN } };
  const mine = (runtime: string, name: string) => join(world.artifacts, "pods", runtime, name);

  beforeEach(async () => {
    await writeAdapter(world.path("hub/acme/gated"), { seed: 1 });
    await writeFile(world.path("hub/acme/gated/.gated"), "");
  });

  /** Sees that an adapter without a token, or with a wrong one, gets nothing, and one with the right one all without a second download. */
  async function givesToTheTokenOnly(runtime: Runtime, pod: string): Promise<void> {
    await runtime.load("nobody", "hf://acme/gated");
    expect((await runtime.failed("nobody", "ArtifactDenied")).message).toMatch(/gated/);
    await runtime.load("wrong", "hf://acme/gated", { credentials: { huggingface_token: "hf_wrong" } });
    expect((await runtime.failed("wrong", "ArtifactDenied")).message).toMatch(/refused the token/);
    for (const name of ["nobody", "wrong"]) expect(existsSync(mine(pod, name))).toBe(false);
    await runtime.load("right", "hf://acme/gated", withToken);
    await runtime.serves("right");
    expect(fetches()["acme/gated"]).toBe(1);
  }

  test("from the cache, by the same pod and by another one", async () => {
    const engine = await world.engine();
    const one = await pod(engine.url, "pod-1");
    await one.load("first", "hf://acme/gated", withToken);
    await one.serves("first");
    await givesToTheTokenOnly(one, "pod-1");
    await one.program.stop();
    const other = await world.engine();
    await givesToTheTokenOnly(await pod(other.url, "pod-2"), "pod-2");
  });

  test("other tokens are tried before they are used, though the content is here", async () => {
    const engine = await world.engine();
    const runtime = await pod(engine.url, "pod-1");
    await runtime.load("x", "hf://acme/gated", withToken);
    await runtime.serves("x");
    const { content_digest: digest } = await runtime.until("x", { state: "Serving" });
    const prepare = (refresh: string, token: string) =>
      fetch(`${runtime.url}/v1/lora_adapter/prepare`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          lora_name: "x",
          artifact_url: "hf://acme/gated",
          credentials: { huggingface_token: token },
          content: { digest },
          prove: true,
          refresh,
        }),
      });
    await prepare("1", "hf_wrong");
    await runtime.until("x", { state: "Serving", prepared: { refresh: "1", state: "Failed", reason: "ArtifactDenied" } });
    await prepare("2", TOKEN);
    await runtime.until("x", { state: "Serving", prepared: { refresh: "2", state: "Ready", content_digest: digest } });
    expect(fetches()["acme/gated"]).toBe(1);
  });

  test("from a download that was all there when its runtime was killed", async () => {
    const engine = await world.engine();
    const crash = crashingAt({ op: "rename", path: "/.cache/contents/[0-9a-f]{64}$", when: "before" });
    const killed = await pod(engine.url, "pod-1", { env: crash });
    await killed.load("first", "hf://acme/gated", withToken).catch(() => undefined);
    await eventually(() => expect(() => process.kill(killed.program.pid, 0)).toThrow("ESRCH"));
    await givesToTheTokenOnly(await pod(engine.url, "pod-1"), "pod-1");
  });
});

test("a volume that a load call names is shared by pods too", async () => {
  await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
  const engine = await world.engine();
  const shared = world.path("shared");
  const delivery = { mode: "volume", runtime_dir: shared, engine_dir: shared };
  for (const name of ["pod-1", "pod-2"]) {
    const runtime = await pod(engine.url, name, { args: [`--artifacts-dir=${world.path(name)}`] });
    await runtime.load(name, "hf://acme/a", { delivery });
    expect((await runtime.serves(name)).serving?.path).toContain(`${shared}/pods/${name}/${name}/`);
    await runtime.program.stop();
  }
  expect(fetches()).toEqual({ "acme/a": 1 });
});

test("500 adapters in the cache: the runtime puts them back in 200 MiB of memory, and asks nobody", async () => {
  const all = names(500);
  await writeAdapter(world.path("one"), { seed: 1 });
  const store = testStore(world.artifacts);
  await store.open();
  // All at once: each waits for the disk.
  const fill = async (name: string, i: number) => {
    const folder = await store.newFolder();
    await copyFile(world.path("one/adapter_model.safetensors"), join(folder, "adapter_model.safetensors"));
    const config = `${readFileSync(world.path("one/adapter_config.json"), "utf8")}${" ".repeat(i)}`;
    await writeFile(join(folder, "adapter_config.json"), config);
    const weights = (await stat(join(folder, "adapter_model.safetensors"))).size;
    const files = [
      { name: "adapter_config.json", sizeBytes: config.length, sha256: name },
      { name: "adapter_model.safetensors", sizeBytes: weights, sha256: name },
    ];
    const about = { artifact_url: `hf://acme/${name}`, source_fingerprint: name, fetched_at: "2026-01-01T00:00:00Z" };
    await store.install(name, folder, { ...about, files });
  };
  await Promise.all(all.map(fill));
  const declared = all.map((name) => ({ lora_name: name, artifact_url: `hf://acme/${name}`, needs_api_key: false }));
  mkdirSync(join(world.artifacts, ".state"), { recursive: true });
  await writeFile(join(world.artifacts, ".state/declared.json"), JSON.stringify({ version: 1, declared, loaded: [], cleanup: [] }));
  const engine = await world.engine();
  const env = { HF_ENDPOINT: hub.url, LOG_LEVEL: "info" };
  const runtime = await world.runtime(engine.url, { env });
  const serving = async () => (await runtime.snapshot()).adapters.filter((a) => a.state === "Serving").length;
  await vi.waitFor(async () => expect(await serving()).toBe(500), { timeout: 100_000, interval: 200 });
  expect(calls).toEqual([]);
  const peakKiB = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${runtime.program.pid}/status`, "utf8"))?.[1];
  expect(Number(peakKiB)).toBeLessThan(200 * 1024);
});

test("a folder that this user may not write to ends the start with 2 and a sentence", async () => {
  const folder = world.path("read-only");
  mkdirSync(folder);
  chmodSync(folder, 0o555);
  // Root may write anywhere unless that right is taken from it.
  const wrapper = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override"] : [];
  const { code, output } = await runProgram("runtime", ["--port=0", `--artifacts-dir=${folder}`], {}, wrapper);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(/--artifacts-dir=.* cannot be used \(EACCES.*may write to/) });
});

test("a pod that runs as another user than those it shares the volume with is told so", async () => {
  // Root makes the folders; whoever is not root has one of root's at hand.
  const isRoot = process.getuid?.() === 0;
  const folder = isRoot ? world.path("shared") : "/";
  if (isRoot) {
    await testStore(folder, { podFolder: "pod-1" }).open();
    chmodSync(dirname(folder), 0o755);
  }
  const wrapper = isRoot ? ["setpriv", "--reuid=65534", "--clear-groups"] : [];
  const { code, output } = await runProgram("runtime", ["--port=0", `--artifacts-dir=${folder}`, "--pod-folder=pod-2"], {}, wrapper);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(/belongs to user 0:.*the same securityContext\.runAsUser/) });
});

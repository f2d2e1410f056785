import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ANNOTATION_REFRESH } from "@aibrix/api";
import { type Hub, programFile, startHub, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { expectDocumentedStatus } from "./support/documented.ts";
import { freePort } from "./support/process.ts";
import { adapter, BASE, until } from "./support/world.ts";

const REPO = "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora";

let dir: string;
let hub: Hub;
let engineUrl: string;
let runtimeUrl: string;
let engine: ChildProcess;
const children = new Set<ChildProcess>();

useWorld();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-controller-"));
  await writeAdapter(join(dir, "hub", REPO), { seed: 1 });
  await writeAdapter(join(dir, "hub", "acme/second"), { seed: 2 });
  await writeBaseModel(join(dir, "base"));
  hub = await startHub({ root: join(dir, "hub") });
  const [enginePort, runtimePort] = [await freePort(), await freePort()];
  [engineUrl, runtimeUrl] = [`http://127.0.0.1:${enginePort}`, `http://127.0.0.1:${runtimePort}`];
  engine = startEngine();
  start("runtime", ["--host=127.0.0.1", `--port=${runtimePort}`, `--artifacts-dir=${join(dir, "artifacts")}`], {
    INFERENCE_ENGINE: "vllm",
    INFERENCE_ENGINE_ENDPOINT: engineUrl,
    HF_ENDPOINT: hub.url,
  });
  await until("the engine and the runtime answer", async () => (await fetch(`${runtimeUrl}/ready`)).ok, 60_000);
}, 3_600_000);

afterAll(async () => {
  for (const child of children) child.kill("SIGTERM");
  await Promise.all([...children].map(ended));
  await hub?.close();
  await rm(dir, { recursive: true, force: true });
});

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

function start(name: string, args: readonly string[], env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, [programFile(name), ...args], {
    env: { ...process.env, LOG_LEVEL: "error", ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  children.add(child);
  return child;
}

function startEngine(): ChildProcess {
  const args = ["--model", join(dir, "base"), "--served-model-name", BASE, "--host=127.0.0.1", `--port=${new URL(engineUrl).port}`];
  return start("mock-engine", [...args, "--enable-lora", "--max-lora-rank=8"], {
    VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
    HF_ENDPOINT: hub.url,
  });
}

async function root(name: string): Promise<string | undefined> {
  const answer = (await (await fetch(`${engineUrl}/v1/models`)).json()) as { data: { id: string; root: string }[] };
  return answer.data.find((m) => m.id === name)?.root;
}

async function served(): Promise<string[]> {
  const answer = (await (await fetch(`${engineUrl}/v1/models`)).json()) as { data: { id: string; parent: string | null }[] };
  return answer.data.flatMap((m) => (m.parent === null ? [] : [m.id])).sort();
}

test("with the real sidecar and engine: the documented manifest is served, repaired and taken away", async () => {
  // One volume, mounted at another path in each container.
  const mounts = { runtime: join(dir, "shared"), engine: join(dir, "seen-by-the-engine") };
  await mkdir(mounts.runtime);
  await symlink(mounts.runtime, mounts.engine);
  const pod = await world.pod(`${BASE}-5587f4c57d-kml6s`, { volume: mounts, runtimeUrl, engineUrl });
  const controller = await world.controller();
  await world.apply("samples/adapter/adapter.yaml");
  const ready = await adapters.ready("default/qwen-code-lora");
  expect(ready).toMatchObject({ phase: "Running", instances: [pod.name], pods: [{ state: "Serving", delivery: "Volume" }] });
  await expectDocumentedStatus(world, pod.name);
  expect(await served()).toEqual(["qwen-code-lora"]);
  expect(await adapters.addresses("default/qwen-code-lora")).toEqual([pod.ip]);
  expect(await root("qwen-code-lora")).toContain(mounts.engine);

  await world.applyObject(adapter("missing", { artifactURL: "huggingface://acme/nowhere" }));
  expect(await adapters.refusal("default/missing", "ArtifactNotFound")).toMatch(/acme\/nowhere/);

  await world.applyObject(adapter("second", { artifactURL: "huggingface://acme/second" }));
  const second = await adapters.ready("default/second");
  // The annotation goes to the sidecar as a pin of the URL.
  const pinned = (digest: string) =>
    adapter("pinned", { artifactURL: "huggingface://acme/second" }, { annotations: { "model.aibrix.ai/artifact-sha256": digest } });
  await world.applyObject(pinned("f".repeat(64)));
  expect(await adapters.refusal("default/pinned", "ArtifactInvalid")).toMatch(/ffff is pinned to other content/);
  await world.applyObject(pinned(second.pods?.[0]?.contentDigest ?? ""));
  await adapters.ready("default/pinned");
  await adapters.remove("default/pinned");

  engine.kill("SIGKILL");
  await adapters.condition("default/second", "Ready", "False");
  await until("out of the slices", async () => (await adapters.addresses("default/second")).length === 0);
  engine = startEngine();
  await adapters.ready("default/second");
  await adapters.ready("default/qwen-code-lora");
  expect(await served()).toEqual(["qwen-code-lora", "second"]);

  await adapters.remove("default/qwen-code-lora", "default/second", "default/missing");
  expect(await served()).toEqual([]);
  await controller.stop();
  await world.deletePod(pod);
});

test("with the real sidecar and Hub: a branch that moved on is looked at again when asked, and the status tells its commit and its content", async () => {
  const key = "default/moving";
  const artifactURL = "huggingface://acme/moving@live";
  const push = async (seed: number) => await writeAdapter(join(dir, "hub", "acme/moving@live"), { seed });
  const commit = async () => ((await (await fetch(`${hub.url}/api/models/acme/moving/revision/live`)).json()) as { sha: string }).sha;
  const declare = async (annotations: Record<string, string> = {}) =>
    await world.applyObject(adapter("moving", { artifactURL }, { annotations }));
  await push(3);
  const [first, mounts] = [await commit(), { runtime: join(dir, "moving"), engine: join(dir, "moving") }];
  await mkdir(mounts.runtime);
  const pod = await world.pod("moving", { volume: mounts, runtimeUrl, engineUrl });
  const controller = await world.controller();
  await declare();
  const before = await adapters.ready(key);
  expect(before).toMatchObject({ resolvedRevision: first, contentDigest: expect.stringMatching(/^sha256:/) });

  await push(4);
  const second = await commit();
  expect(second).not.toBe(first);
  await declare({ [ANNOTATION_REFRESH]: "1" });
  await adapters.condition(key, "Updated", "True");
  const after = await adapters.status(key);
  expect(after).toMatchObject({ resolvedRevision: second, served: { artifactURL, refresh: "1" }, readyReplicas: 1 });
  expect(after?.history?.map((h) => [h.outcome, h.resolvedRevision, h.contentDigest])).toEqual([
    ["Served", second, after?.contentDigest],
    ["Served", first, before.contentDigest],
  ]);
  expect(after?.contentDigest).not.toBe(before.contentDigest);
  expect(await root("moving")).toContain(after?.contentDigest?.replace("sha256:", ""));

  await adapters.remove(key);
  await controller.stop();
  await world.deletePod(pod);
});

test("with the real sidecar and no shared volume: the engine downloads by itself, and the status says so", async () => {
  const pod = await world.pod("bare", { runtimeUrl, engineUrl });
  const controller = await world.controller();
  await world.apply("samples/adapter/adapter.yaml");
  const ready = await adapters.ready("default/qwen-code-lora");
  expect(ready).toMatchObject({ phase: "Running", pods: [{ state: "Serving", delivery: "Engine" }] });
  // The documented Deployment has no shared volume.
  await expectDocumentedStatus(world, pod.name);
  expect(ready.pods?.[0]?.contentDigest).toBeUndefined();
  expect(await root("qwen-code-lora")).toBe(REPO);
  await world.applyObject(adapter("in-s3", { artifactURL: "s3://models/adapters/a" }));
  expect(await adapters.refusal("default/in-s3", "VolumeMissing")).toMatch(/emptyDir/);
  // A new repository that is not there: each try to load it takes the old content away for a moment, and the second is the last one.
  await world.applyObject(adapter("qwen-code-lora", { artifactURL: "huggingface://acme/nowhere" }));
  const kept = await adapters.condition("default/qwen-code-lora", "Updated", "False", "ArtifactNotFound");
  expect(kept.conditions?.find((c) => c.type === "Updated")?.message).toMatch(/cannot fetch acme\/nowhere itself/);
  await until("the old content serves", async () => (await adapters.status("default/qwen-code-lora"))?.readyReplicas === 1);
  expect(await served()).toEqual(["qwen-code-lora"]);
  await adapters.remove("default/qwen-code-lora", "default/in-s3");
  expect(await served()).toEqual([]);
  await controller.stop();
  await world.deletePod(pod);
});

test("without the sidecar: the engine downloads by itself", async () => {
  const pod = await world.pod("direct", { engineUrl });
  const controller = await world.controller([], { directPeriodMs: 200 });
  await world.applyObject(adapter("second", { artifactURL: "huggingface://acme/second" }));
  await adapters.ready("default/second");
  expect(await served()).toEqual(["second"]);
  await world.applyObject(adapter("missing", { artifactURL: "huggingface://acme/nowhere" }));
  expect(await adapters.refusal("default/missing", "ArtifactNotFound")).toMatch(/cannot fetch acme\/nowhere itself/);
  await adapters.remove("default/second", "default/missing");
  expect(await served()).toEqual([]);
  await controller.stop();
  await world.deletePod(pod);
});

test("the sidecar's flag removed and set again: each time the adapter is given up there and loaded here, and nothing is left twice", async () => {
  const remembered = async () => {
    const answer = (await (await fetch(`${runtimeUrl}/v1/lora_adapters`)).json()) as { adapters: { lora_name: string }[] };
    return answer.adapters.map((a) => a.lora_name);
  };
  const pod = await world.pod("edited", { runtimeUrl, engineUrl });
  let controller = await world.controller();
  await world.applyObject(adapter("second", { artifactURL: "huggingface://acme/second" }));
  await adapters.ready("default/second");
  expect(await remembered()).toEqual(["second"]);

  await controller.stop();
  controller = await world.controller([], { directPeriodMs: 200 });
  await until("the engine was asked", async () => (await adapters.status("default/second"))?.pods?.[0]?.asked === true);
  await adapters.ready("default/second");
  expect(await remembered()).toEqual([]);
  expect(await served()).toEqual(["second"]);

  await controller.stop();
  controller = await world.controller();
  await until("the sidecar has it again", async () => (await remembered()).includes("second"));
  expect((await adapters.ready("default/second")).pods).toMatchObject([{ state: "Serving" }]);
  await until("it is no longer the engine's own", async () => (await adapters.status("default/second"))?.pods?.[0]?.asked === undefined);
  expect(await served()).toEqual(["second"]);

  await controller.stop();
  controller = await world.controller([], { directPeriodMs: 200 });
  // Whatever was done by then: a deletion finds the adapter wherever it is.
  await adapters.remove("default/second");
  expect(await served()).toEqual([]);
  expect(await remembered()).toEqual([]);
  await controller.stop();
  await world.deletePod(pod);
});

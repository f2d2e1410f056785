import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { programFile, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { freePort } from "./support/process.ts";
import { adapter, BASE, type FakePod, until } from "./support/world.ts";

/* The controller, and two pods with the real sidecar and engine: an archive at a URL is replaced, and its server keeps nothing of before. */

interface Real {
  readonly runtimeUrl: string;
  readonly engineUrl: string;
}

let dir: string;
let web: Server;
/** What the web server gives under every path. */
let archive: Buffer;
let url: string;
const children = new Set<ChildProcess>();

useWorld();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-peers-"));
  await writeBaseModel(join(dir, "base"));
  await writeFile(join(dir, "token"), "peers-token\n");
  await put(1);
  web = createServer((request, response) => {
    const headers = { "content-length": archive.length, etag: `"${archive.length}-${archive.subarray(-64).toString("hex")}"` };
    response.writeHead(200, headers).end(request.method === "HEAD" ? undefined : archive);
  });
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/moving.tar.gz`;
}, 3_600_000);

afterAll(async () => {
  for (const child of children) child.kill("SIGTERM");
  await Promise.all([...children].map(async (c) => (c.exitCode === null && c.signalCode === null ? await once(c, "exit") : undefined)));
  web?.closeAllConnections();
  web?.close();
  await rm(dir, { recursive: true, force: true });
});

/** Puts an adapter where the URL leads. */
async function put(seed: number): Promise<void> {
  await writeAdapter(join(dir, `seed-${seed}`), { seed });
  execFileSync("tar", ["-C", join(dir, `seed-${seed}`), "-czf", join(dir, "archive"), "."]);
  archive = await readFile(join(dir, "archive"));
}

function start(name: string, args: readonly string[], env: Record<string, string>): void {
  const child = spawn(process.execPath, [programFile(name), ...args], {
    env: { ...process.env, LOG_LEVEL: "error", ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  children.add(child);
}

/** A sidecar with the token, and its engine. */
async function real(name: string): Promise<Real> {
  const [enginePort, runtimePort] = [await freePort(), await freePort()];
  const [engineUrl, runtimeUrl] = [`http://127.0.0.1:${enginePort}`, `http://127.0.0.1:${runtimePort}`];
  const model = ["--model", join(dir, "base"), "--served-model-name", BASE, "--host=127.0.0.1", `--port=${enginePort}`];
  start("mock-engine", [...model, "--enable-lora", "--max-lora-rank=8"], { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" });
  const own = ["--host=127.0.0.1", `--port=${runtimePort}`, `--artifacts-dir=${join(dir, name)}`, `--token-file=${join(dir, "token")}`];
  start("runtime", [...own, "--allow-artifact-hosts=127.0.0.1"], { INFERENCE_ENGINE_ENDPOINT: engineUrl });
  await until(`${name} answers`, async () => (await fetch(`${runtimeUrl}/ready`).catch(() => undefined))?.ok === true, 60_000);
  return { engineUrl, runtimeUrl };
}

async function joins(name: string): Promise<{ readonly pod: FakePod } & Real> {
  const urls = await real(name);
  await mkdir(join(dir, `volume-${name}`));
  const volume = { runtime: join(dir, `volume-${name}`), engine: join(dir, `volume-${name}`) };
  return { ...urls, pod: await world.pod(name, { volume, ...urls }) };
}

async function answer({ engineUrl }: Real): Promise<string> {
  const response = await fetch(`${engineUrl}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "moving", prompt: "select", max_tokens: 8 }),
  });
  return ((await response.json()) as { choices: readonly { text: string }[] }).choices[0]?.text ?? "";
}

test("a pod that joins after the archive was replaced serves what the others serve, until somebody asks for what is there now", async () => {
  const key = "default/moving";
  const controller = await world.controller(["--enable-runtime-sidecar", `--runtime-token-file=${join(dir, "token")}`]);
  const a = await joins("a");
  const declare = (annotations: Record<string, string> = {}) => world.applyObject(adapter("moving", { artifactURL: url }, { annotations }));
  await declare();
  const { contentDigest } = await adapters.ready(key);
  expect(contentDigest).toMatch(/^sha256:/);
  const first = await answer(a);
  await put(2);
  const b = await joins("b");
  const both = (digest: string | undefined) => [
    ["a", "Serving", digest],
    ["b", "Serving", digest],
  ];
  const rows = async () => (await adapters.status(key))?.pods?.map((p) => [p.name, p.state, p.contentDigest]);
  await until("both serve it", async () => JSON.stringify(await rows()) === JSON.stringify(both(contentDigest)), 60_000);
  expect(await answer(b)).toBe(first);
  await declare({ "adapter.model.aibrix.ai/refresh": "1" });
  await adapters.condition(key, "Updated", "True");
  const after = (await adapters.status(key))?.contentDigest;
  expect(after).not.toBe(contentDigest);
  expect(await rows()).toEqual(both(after));
  await adapters.remove(key);
  await controller.stop();
  for (const { pod } of [a, b]) await world.deletePod(pod);
});

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ensureEnvoy } from "../src/parts/envoy.ts";
import { run } from "../src/parts/run.ts";
import { ensureVersitygw } from "../src/parts/versitygw.ts";

// The real parts, from the user's cache. `npm test` has put them there; else the first run builds them, which takes minutes.
const BUILD_MS = 15 * 60_000;
const context = { log: (line: string) => console.log(line), signal: AbortSignal.timeout(BUILD_MS) };
const children: ChildProcess[] = [];
let dir: string;
let envoy: string;
let versitygw: string;

beforeAll(async () => {
  envoy = (await ensureEnvoy(context)).bin;
  versitygw = (await ensureVersitygw(context)).bin;
}, BUILD_MS);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "parts-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await rm(dir, { recursive: true, force: true });
});

function start(argv: readonly [string, ...string[]], env: Record<string, string>): ChildProcess {
  const [file, ...args] = argv;
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

test("Envoy is the version that the project is made for, and takes a configuration", async () => {
  expect(await run({ argv: [envoy, "--version"] }, context.signal)).toContain("/1.40.");
  const config = join(dir, "envoy.yaml");
  await writeFile(config, "static_resources: {}\n");
  expect(await run({ argv: [envoy, "--mode", "validate", "-c", config] }, context.signal)).toContain("OK");
});

test("versitygw serves S3 and lets nobody in without a key", async () => {
  const data = join(dir, "data");
  await mkdir(join(data, "bucket"), { recursive: true });
  await mkdir(join(dir, "iam"));
  const address = `127.0.0.1:${await freePort()}`;
  // The working directory must not matter, so every path is absolute.
  start([versitygw, "--port", address, "--iam-dir", join(dir, "iam"), "posix", data], {
    ROOT_ACCESS_KEY: "key",
    ROOT_SECRET_KEY: "secret",
  });
  const answer = await vi.waitFor(() => fetch(`http://${address}/bucket/nothing`), { timeout: 20_000, interval: 50 });
  expect(answer.status).toBe(403);
  expect(await answer.text()).toContain("<Code>AccessDenied</Code>");
});

describe("the Hub as a program", () => {
  const MAIN = join(import.meta.dirname, "../src/hub/main.ts");

  test("serves files and ranges, keeps its token out of the process list, and ends cleanly", async () => {
    await mkdir(join(dir, "org", "one"), { recursive: true });
    await writeFile(join(dir, "org", "one", "adapter_model.safetensors"), "0123456789");
    await writeFile(join(dir, "org", "one", ".gated"), "");
    const child = start([process.execPath, MAIN, "--root", dir], { AIBRIX_HUB_TOKEN: "hf_right" });
    if (child.stdout === null) throw new Error("stdout is a pipe");
    const lines: string[] = [];
    const output = createInterface(child.stdout).on("line", (line) => lines.push(line));
    await once(output, "line");
    const url = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(lines[0] ?? "")?.[1];
    expect(url).toBeDefined();

    const file = `${url}/org/one/resolve/main/adapter_model.safetensors`;
    expect((await fetch(file)).status).toBe(401);
    const part = await fetch(file, { headers: { authorization: "Bearer hf_right", range: "bytes=2-4" } });
    expect([part.status, await part.text()]).toEqual([206, "234"]);
    if (process.platform === "linux") expect(await readFile(`/proc/${child.pid}/cmdline`, "utf8")).not.toContain("hf_right");

    const ended = once(child, "exit");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(lines.slice(1).map((line) => line.split(" ").at(-1))).toEqual(["401", "302", "206"]);
  });

  test("says what is wrong with its flags", async () => {
    const missing = run({ argv: [process.execPath, MAIN, "--root", join(dir, "nothing")] }, context.signal);
    await expect(missing).rejects.toThrow("--root must name a folder that exists");
    const port = run({ argv: [process.execPath, MAIN, "--root", dir, "--port", "http"] }, context.signal);
    await expect(port).rejects.toThrow("--port must be a port number, got http");
  });
});

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { statfs, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";
import { type Hub, startHub, writeAdapter, writeSafetensors } from "@aibrix/devcluster";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { stopPrograms } from "./support/program.ts";
import { eventually, type Runtime, World } from "./support/world.ts";

const MIB = 2 ** 20;
let world: World;
let hub: Hub;

beforeEach(async () => {
  world = new World();
  hub = await startHub({ root: world.path("hub") });
});
afterEach(async () => {
  await stopPrograms();
  await hub.close();
});

const runtimeIn = async (dir: string, ...args: string[]) => {
  const engine = await world.engine();
  return await world.runtime(engine.url, { env: { HF_ENDPOINT: hub.url }, args: [`--artifacts-dir=${dir}`, ...args] });
};

/** Mounting takes root with the right to; the kernel's own errors can be had in no other way. */
const mayMount = (() => {
  try {
    execFileSync("unshare", ["--mount", "true"], { stdio: "ignore" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
})();

describe.skipIf(!mayMount)("a volume of its own (needs root, who may mount one)", () => {
  let dir: string;
  beforeEach(() => {
    dir = world.path("volume");
    mkdirSync(dir);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=160m", "aibrix-test", dir]);
  });
  afterEach(() => {
    execFileSync("umount", ["--lazy", dir]);
    world.remove();
  });

  /** Leaves so many bytes free, or fewer where a download takes them; the result gives the room back. */
  async function fill(freeBytes: number): Promise<() => void> {
    const { bavail, bsize } = await statfs(dir);
    const filler = Buffer.alloc(Math.max(0, bavail * bsize - freeBytes));
    await writeFile(`${dir}/filler`, filler).catch((error: NodeJS.ErrnoException) => expect(error.code).toBe("ENOSPC"));
    return () => rmSync(`${dir}/filler`);
  }

  test("one that is full is told before anything is fetched, and serves once it has room", async () => {
    await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
    const runtime = await runtimeIn(dir, "--cache-min-free=0");
    const empty = await fill(8 * MIB);
    await runtime.load("a", "hf://acme/a");
    expect(await runtime.failed("a", "StorageFull")).toMatchObject({
      message: expect.stringMatching(/the download needs .* MiB more, and the volume that it goes to has 8\.0 MiB free/),
      retryable: true,
      next_retry_time: expect.any(String),
    });
    expect((await runtime.text("/metrics")).text).toMatch(/^aibrix_runtime_downloaded_bytes_total 0$/m);
    empty();
    await runtime.serves("a");
  });

  test("one that fills up during a download is told, and the download ends well once it has room", async () => {
    await writeAdapter(world.path("hub/acme/big"), { seed: 1 });
    const data = new Float32Array((48 * MIB) / 4);
    await writeSafetensors(world.path("hub/acme/big/adapter_model.safetensors"), {
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": { shape: [8, data.length / 8], data },
      "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": { shape: [8, 8], data: new Float32Array(64) },
    });
    const runtime = await runtimeIn(dir, "--cache-min-free=0", "--download-rate-limit=8Mi");
    await runtime.load("a", "hf://acme/big");
    const some = expect.toSatisfy((n: unknown) => Number(n) > 4 * MIB);
    await runtime.until("a", { state: "Downloading", download: { bytes: some } });
    const empty = await fill(0);
    expect((await runtime.failed("a", "StorageFull")).retryable).toBe(true);
    empty();
    // The engine has another base model than these weights fit: what counts is that they are here.
    const digest = async () => (await runtime.snapshot()).adapters[0]?.content_digest;
    await vi.waitFor(async () => expect(await digest()).toMatch(/^sha256:/), { timeout: 60_000, interval: 50 });
  });

  test("one that is read-only for a while is told with the kernel's word, and serves when it can be written to", async () => {
    await writeAdapter(world.path("hub/acme/a"), { seed: 1 });
    const runtime = await runtimeIn(dir);
    // Not while something is open for writing.
    await eventually(() => void execFileSync("mount", ["-o", "remount,ro", dir], { stdio: "pipe" }));
    await runtime.load("a", "hf://acme/a");
    expect(await runtime.failed("a", "ArtifactUnavailable")).toMatchObject({
      message: expect.stringMatching(/cannot be used \(EROFS\): give the runtime's user access/),
      retryable: true,
    });
    execFileSync("mount", ["-o", "remount,rw", dir]);
    await runtime.serves("a");
  });
});

describe("sources that hang", () => {
  let silent: Server;
  const sockets: Socket[] = [];
  beforeEach(async () => {
    silent = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    silent.close();
    world.remove();
  });

  test("keep none of 100 other adapters waiting that are declared behind them, though they are more than are fetched at once", async () => {
    const names = Array.from({ length: 100 }, (_, i) => `a${i}`);
    await Promise.all(names.map((name, i) => writeAdapter(world.path(`hub/acme/${name}`), { seed: i + 1 })));
    const runtime: Runtime = await runtimeIn(world.artifacts);
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const keys = { aws_access_key_id: "k", aws_secret_access_key: "s", aws_endpoint_url: endpoint };
    const hanging = Array.from({ length: 6 }, (_, i) => `hangs${i}`);
    for (const name of hanging) await runtime.load(name, `s3://models/${name}`, { credentials: keys });
    await Promise.all(names.map((name) => runtime.load(name, `hf://acme/${name}`)));
    const serving = async () => (await runtime.snapshot()).adapters.filter((a) => a.state === "Serving").length;
    for (const name of names) await runtime.serves(name);
    expect(await serving()).toBe(100);
    // None of them had to give up for that.
    const left = (await runtime.snapshot()).adapters.filter((a) => hanging.includes(a.lora_name));
    expect(left.map(({ attempts, state }) => ({ attempts, state }))).toEqual(hanging.map(() => ({ attempts: 0, state: "Downloading" })));
  });
});

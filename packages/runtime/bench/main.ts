import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensurePythonClients, ensureS5cmd, ensureVllm, type PartContext, writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { writeBigAdapter } from "./adapter.ts";
import { awsCli, curl, type Download, huggingfaceHub, s5cmd, upload } from "./clients.ts";
import { measureLoads } from "./loads.ts";
import type { Taken } from "./measured.ts";
import { runtimeBrings } from "./ours.ts";
import { type Server, startHubProcess, startMockEngine, startS3, startVllm } from "./servers.ts";

/*
 * How fast the runtime downloads beside other clients, how much memory that takes, and what a load costs beyond the engine's own time. All
 * clients fetch the same files from the same servers on this machine, by turns, so that what else runs here disturbs them alike. It prints
 * and never judges.
 */

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "1024" },
    "memory-size": { type: "string", default: "2048" },
    rounds: { type: "string", default: "3" },
    loads: { type: "string", default: "30" },
    vllm: { type: "boolean", default: false },
  },
});
const MIB = 2 ** 20;
const SIZE = number("size", values.size, 16_384) * MIB;
const MEMORY_SIZE = number("memory-size", values["memory-size"], 16_384) * MIB;
const ROUNDS = number("rounds", values.rounds, 100);
const LOADS = number("loads", values.loads, 1_000);
/** Time that the mock engine takes for a load: that of a small adapter on a real one. */
const MOCK_LOAD_MS = 50;

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
const context: PartContext = { log: (line) => process.stderr.write(`${line}\n`), signal: stop.signal };
const dir = await mkdtemp(join(tmpdir(), "aibrix-bench-runtime-"));
const servers: Server[] = [];
try {
  await checkRoom();
  await measure();
} finally {
  await Promise.all(servers.map((s) => s.close()));
  await rm(dir, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const clients = { s5: await ensureS5cmd(context), python: await ensurePythonClients(context) };
  const base = join(dir, "base");
  await writeBaseModel(base);
  const s3 = await started(startS3(join(dir, "s3"), context));
  const engine = await started(startMockEngine(base, ["--mock-load-delay-ms", String(MOCK_LOAD_MS)]));
  await writeBigAdapter(join(dir, "hub/bench/big"), SIZE);
  await writeBigAdapter(join(dir, "huge"), MEMORY_SIZE);
  await upload(clients.s5.bin, s3, join(dir, "hub/bench/big"), "big");
  await upload(clients.s5.bin, s3, join(dir, "huge"), "huge");
  await writeAdapter(join(dir, "hub/bench/small"), { seed: 1 });
  await upload(clients.s5.bin, s3, join(dir, "hub/bench/small"), "small");
  await rm(join(dir, "huge"), { recursive: true });
  const hub = await started(startHubProcess(join(dir, "hub")));

  const small = { warmUrl: "s3://models/small" };
  const fromS3: Readonly<Record<string, Download>> = {
    runtime: (to) => runtimeBrings({ ...small, url: "s3://models/big", credentials: s3.secret }, engine, to),
    s5cmd: s5cmd(clients.s5.bin, s3, "big"),
    "aws s3 cp": awsCli(clients.python, s3, "big"),
    "curl, 8 ranges at once": curl(s3, "big", SIZE),
  };
  const fromHub: Readonly<Record<string, Download>> = {
    runtime: (to) => runtimeBrings({ url: "hf://bench/big", warmUrl: "hf://bench/small", env: { HF_ENDPOINT: hub.url } }, engine, to),
    huggingface_hub: huggingfaceHub(clients.python, hub),
  };
  // The Hub reads what it has once, to know its hashes.
  await fetch(`${hub.url}/api/models/bench/big`);
  print(`runtime: ${SIZE / MIB} MiB by ${ROUNDS} rounds, medians`);
  compare("S3 server on this machine", await rounds(fromS3));
  compare("Hub on this machine", await rounds(fromHub));

  const { peakBytes } = await into((to) => runtimeBrings({ ...small, url: "s3://models/huge", credentials: s3.secret }, engine, to));
  print(`runtime's peak memory (RSS), ${MEMORY_SIZE / MIB} MiB from S3: ${mib(peakBytes)} (${(peakBytes / 1e6).toFixed(0)} MB)`);

  await loads(`mock engine (its load takes ${MOCK_LOAD_MS} ms)`, engine);
  if (values.vllm) await loads("vLLM", await started(startVllm((await ensureVllm(context)).bin, base)));
}

async function loads(what: string, engine: Server): Promise<void> {
  const { engineMs, runtimeMs, probedMs } = await measureLoads(engine, join(dir, `loads-${servers.length}`), LOADS);
  const [own, ours, probed] = [median(engineMs), median(runtimeMs), median(probedMs)];
  print(`load of a small adapter, ${what}, medians of ${LOADS}:`);
  print(`  engine asked directly ${own.toFixed(1)} ms, through the runtime ${ours.toFixed(1)} ms: ${(ours - own).toFixed(1)} ms more`);
  print(`  through the runtime, with the engine's answer to a request of one token: ${probed.toFixed(1)} ms`);
}

/** Every client once a round, beginning with another one each time. */
async function rounds(clients: Readonly<Record<string, Download>>): Promise<ReadonlyMap<string, readonly Taken[]>> {
  const names = Object.keys(clients);
  const taken = new Map<string, Taken[]>(names.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1)
    for (let turn = 0; turn < names.length; turn += 1) {
      stop.signal.throwIfAborted();
      const name = names[(round + turn) % names.length] ?? "";
      const download = clients[name];
      if (download !== undefined) taken.get(name)?.push(await into(download));
    }
  return taken;
}

/** With a new folder, which is removed again. */
async function into(download: Download): Promise<Taken> {
  const to = join(dir, "to");
  await mkdir(to);
  try {
    return await download(to);
  } finally {
    await rm(to, { recursive: true, force: true });
  }
}

function compare(from: string, taken: ReadonlyMap<string, readonly Taken[]>): void {
  print(`from the ${from}:`);
  print(`  ${"".padEnd(24)} MiB/s   each round           CPU s  peak MiB  runtime is`);
  const rate = (t: Taken) => SIZE / MIB / t.seconds;
  const ours = median((taken.get("runtime") ?? []).map(rate));
  for (const [name, all] of taken) {
    const theirs = median(all.map(rate));
    const ratio = name === "runtime" ? "" : `${(ours / theirs).toFixed(2)}x`;
    const each = all.map((t) => rate(t).toFixed(0)).join(" ");
    const cpu = median(all.map((t) => t.cpuSeconds)).toFixed(1);
    const peak = String(Math.round(Math.max(...all.map((t) => t.peakBytes)) / MIB));
    print(`  ${name.padEnd(24)} ${theirs.toFixed(0).padStart(5)}   ${each.padEnd(20)} ${cpu.padStart(5)}  ${peak.padStart(8)}  ${ratio}`);
  }
}

async function started<T extends Server>(starting: Promise<T>): Promise<T> {
  const server = await starting;
  servers.push(server);
  return server;
}

/** What is on the disk at once: the files, their copies at the S3 server, and one download. */
async function checkRoom(): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const needed = 2 * SIZE + 2 * MEMORY_SIZE;
  if (bavail * bsize < 1.1 * needed)
    throw new Error(`${dir} has ${mib(bavail * bsize)} free, and ${mib(1.1 * needed)} are needed: set TMPDIR, or give smaller sizes`);
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)] ?? 0, sorted[Math.ceil((sorted.length - 1) / 2)] ?? 0];
  return (low + high) / 2;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function number(flag: string, text: string, most: number): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > most) throw new Error(`--${flag} ${text}: write a number from 1 to ${most}`);
  return n;
}

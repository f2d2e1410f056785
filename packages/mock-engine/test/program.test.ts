import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { adapterDigest } from "../src/index.ts";
import { Client, EventStream } from "./http.ts";
import { createWorld, type World } from "./world.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

interface Program {
  readonly output: () => string;
  readonly ended: Promise<number | null>;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** The address, once the program has printed it. */
  readonly address: Promise<string>;
}

const running: Program[] = [];
let world: World;

beforeAll(async () => {
  world = await createWorld();
});
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill("SIGKILL");
    await program.ended;
  }
});
afterAll(async () => {
  await world.close();
});

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const child = spawn(process.execPath, [MAIN, "--host", "127.0.0.1", "--port", "0", ...args], {
    env: { PATH: process.env.PATH, VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1", HF_HUB_OFFLINE: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const { promise: address, resolve } = Promise.withResolvers<string>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const line = output.split("\n").find((candidate) => candidate.includes('"msg":"listening"'));
      if (line !== undefined) resolve((JSON.parse(line) as { address: string }).address);
    });
  }
  const ended = once(child, "close").then(([code]) => code as number | null);
  const program: Program = { output: () => output, ended, kill: (signal) => void child.kill(signal), address };
  running.push(program);
  return program;
}

describe("the program", () => {
  test("prints the address that it got", async () => {
    const program = run([]);
    expect((await new Client(await program.address).call("/health")).status).toBe(200);
    expect(program.output().trim().split("\n")).toHaveLength(1);
  });

  test.each([
    { name: "help", args: ["--help"], code: 0, says: "usage: aibrix_mock_engine" },
    {
      name: "a flag that cannot be read",
      args: ["--max-loras", "many"],
      code: 2,
      says: "error: argument --max-loras: invalid int value: 'many'",
    },
    {
      name: "numbers that contradict",
      args: ["--max-loras", "3", "--max-cpu-loras", "2"],
      code: 1,
      says: "max_cpu_loras (2) must be >= max_loras (3).",
    },
    {
      name: "a static adapter that is not there",
      args: ["--enable-lora", "--lora-modules", "x=/nope"],
      code: 1,
      says: "No adapter found for /nope",
    },
  ])("ends with $code: $name", async ({ args, code, says }) => {
    const program = run(args);
    expect(await program.ended).toBe(code);
    expect(program.output()).toContain(says);
  });

  test("tells which flags it ignores, and never a key", async () => {
    const program = run(["--gpu-memory-utilization", "0.9", "--uvicorn-log-level", "debug"], { VLLM_API_KEY: "sk-secret" });
    const client = new Client(await program.address, "sk-secret");
    expect((await client.call("/v1/models")).status).toBe(200);
    expect((await client.withKey("sk-wrong").call("/v1/models")).status).toBe(401);
    program.kill("SIGTERM");
    expect(await program.ended).toBe(0);
    expect(program.output()).toContain("--gpu-memory-utilization");
    expect(program.output()).not.toContain("sk-");
  });

  test("does not listen before its startup delay is over, and ends at once when asked meanwhile", async () => {
    const program = run(["--mock-startup-delay-ms", "600000", "--some-flag"]);
    await expect.poll(program.output, { timeout: 20_000 }).toContain("--some-flag");
    program.kill("SIGTERM");
    expect(await program.ended).toBe(0);
    expect(program.output()).not.toContain("listening");
  });

  test("SIGTERM ends a stream that nobody would end", async () => {
    const program = run(["--mock-token-delay-ms", "600000"]);
    const client = new Client(await program.address);
    const opened = client.open("/v1/completions", { json: { prompt: "hello", stream: true } });
    await expect.poll(async () => (await client.call("/metrics")).text).toMatch(/^vllm:num_requests_running\{.*\} 1$/m);
    program.kill("SIGTERM");
    const stream = new EventStream(await opened);
    expect(stream.status).toBe(500);
    expect(await program.ended).toBe(0);
  });

  test("crashes when asked, at once and without an answer", async () => {
    const program = run([]);
    await expect(new Client(await program.address).call("/mock/crash", { method: "POST" })).rejects.toThrow();
    expect(await program.ended).toBe(1);
  });

  test("crashes on the load of a name", async () => {
    const program = run(["--enable-lora", "--mock-crash-on-load", "bad"]);
    const client = new Client(await program.address);
    await client.mustLoad("good", world.path("sql"));
    await expect(client.load("bad", world.path("sql"))).rejects.toThrow();
    expect(await program.ended).toBe(1);
  });

  test("crashes on the load of weights, whatever their name", async () => {
    const program = run(["--enable-lora", "--mock-crash-on-load", await adapterDigest(world.path("sql"))]);
    const client = new Client(await program.address);
    await expect(client.load("any", world.path("sql"))).rejects.toThrow();
    expect(await program.ended).toBe(1);
  });
});

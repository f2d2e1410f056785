import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { deadline, sleep } from "./time.ts";

const children: import("node:child_process").ChildProcess[] = [];
afterEach(() => {
  for (const c of children.splice(0)) c.kill("SIGKILL");
});

function program(body: string, env: NodeJS.ProcessEnv = {}) {
  const index = JSON.stringify(join(import.meta.dirname, "index.ts"));
  const child = spawn(
    process.execPath,
    ["--input-type=module-typescript", "-e", `import { aborted, ConfigError, runMain } from ${index};\n${body}`],
    {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: import.meta.dirname,
      env: { ...process.env, ...env },
    },
  );
  children.push(child);
  return child;
}

test.each(["SIGTERM", "SIGINT"] as const)("%s ends a program cleanly", async (name) => {
  const child = program(`await runMain("t", async (signal) => {
    const timer = setInterval(() => {}, 1000); console.log("up"); await aborted(signal); clearInterval(timer); console.log("closed");
  });`);
  const output: string[] = [];
  child.stdout?.on("data", (d) => output.push(String(d)));
  await once(child.stdout as NodeJS.ReadableStream, "data");
  child.kill(name);
  expect(await once(child, "exit")).toEqual([0, null]);
  expect(output.join("")).toContain("closed");
});

test("ends although nobody reads its output any more", async () => {
  const child = program(`await runMain("t", async (signal, log) => {
    const timer = setInterval(() => log.info("still here"), 1); await aborted(signal); clearInterval(timer); log.info("closed");
  });`);
  await once(child.stdout as NodeJS.ReadableStream, "data");
  child.stdout?.destroy();
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("settings that cannot be used end it with 2 and their message alone", async () => {
  const child = program(`await runMain("t", async () => { throw new ConfigError("write --x=1"); });`);
  const errors: string[] = [];
  child.stderr?.on("data", (d) => errors.push(String(d)));
  expect(await once(child, "close")).toEqual([2, null]);
  expect(errors.join("")).toBe("write --x=1\n");
});

test("a log level that does not exist is such a setting", async () => {
  const child = program(`await runMain("t", async () => {});`, { LOG_LEVEL: "loud" });
  const errors: string[] = [];
  child.stderr?.on("data", (d) => errors.push(String(d)));
  expect(await once(child, "close")).toEqual([2, null]);
  expect(errors.join("")).toBe("LOG_LEVEL=loud: write one of debug, info, warn, error, silent\n");
});

test("a sleep ends with its signal and never rejects", async () => {
  expect(await sleep(60_000, AbortSignal.abort())).toBe(false);
  expect(await sleep(1, new AbortController().signal)).toBe(true);
  expect(await sleep(60_000, deadline(1, new AbortController().signal))).toBe(false);
});

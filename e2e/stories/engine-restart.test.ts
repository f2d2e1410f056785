// Parts crash. They come back by themselves, and adapters with them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { StandaloneFile } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { cli, ENGINE, MAIN } from "../support/cli.ts";
import { ask, complete } from "../support/client.ts";
import { BASE_MODEL, manifest } from "../support/manifest.ts";
import { addresses, carriers, listens, runs } from "../support/processes.ts";
import { type Stack, startStack } from "../support/stack.ts";

const BACK_MS = 60_000;

describe.skipIf(ENGINE === "vllm")("a part that is killed", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ manifests: { "sql.yaml": manifest("sql-lora", "hf://acme/sql-lora") } });
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  const pids = () => (JSON.parse(readFileSync(join(stack.dir, "stack.json"), "utf8")) as StandaloneFile).pids;

  async function killed(part: string): Promise<void> {
    const before = pids()[part] ?? 0;
    process.kill(before, "SIGKILL");
    await vi.waitFor(() => expect(pids()[part] ?? before).not.toBe(before), { timeout: BACK_MS, interval: 20 });
  }

  test.each(["engine-1", "runtime-1", "gateway", "envoy", "hub"])(
    "%s is started again, and the adapter answers from its weights",
    async (part) => {
      await killed(part);
      await vi.waitFor(
        async () => {
          expect((await complete(stack.gateway, "sql-lora")).status).toBe(200);
          expect((await complete(stack.gateway, BASE_MODEL)).status).toBe(200);
        },
        { timeout: BACK_MS, interval: 50 },
      );
      expect((await ask(stack.gateway, "sql-lora")).digest).toBe(await stack.digest("acme/sql-lora"));
      const log = readFileSync(join(stack.dir, "logs/supervisor.log"), "utf8");
      expect(log).toMatch(new RegExp(`${part} was ended by SIGKILL; it is started again in 0\\.2 s`));
    },
  );

  test("a supervisor that is killed leaves nothing that the next stop does not end", async () => {
    const before = JSON.parse(readFileSync(join(stack.dir, "stack.json"), "utf8")) as StandaloneFile;
    process.kill(before.pids.supervisor ?? 0, "SIGKILL");
    await vi.waitFor(() => expect(runs(before.pids.supervisor ?? 0)).toBe(false), { timeout: BACK_MS, interval: 20 });
    const status = await cli(["status", "--dir", stack.dir]);
    expect(status).toMatchObject({ code: 1, output: expect.stringContaining("was killed. End what it left with: npm run stop") });
    expect((await stack.stop()).code).toBe(0);
    expect(Object.entries(before.pids).filter(([, pid]) => runs(pid))).toEqual([]);
    for (const url of addresses(before)) expect(await listens(url), url).toBe(false);
  });

  test.each([
    { name: "whose supervisor is asked to end", signal: "SIGTERM", whom: "supervisor" },
    { name: "that gets Ctrl-C", signal: "SIGINT", whom: "command" },
    { name: "whose command is killed", signal: "SIGKILL", whom: "command" },
  ] as const)("a start $name leaves nothing", async ({ signal, whom }) => {
    const args = [
      MAIN,
      "start",
      "--detach",
      "--dir",
      stack.dir,
      "--adapters",
      stack.adapters,
      "--engine-arg=--mock-startup-delay-ms=60000",
    ];
    const command = spawn(process.execPath, args, { stdio: "ignore" });
    const ended = once(command, "exit");
    const { supervisor } = await vi.waitFor(
      () => {
        const run = JSON.parse(readFileSync(join(stack.dir, "run.json"), "utf8")) as RunFile;
        expect(Object.keys(run.parts)).toContain("envoy");
        return run;
      },
      { timeout: BACK_MS, interval: 10 },
    );
    process.kill(whom === "command" ? (command.pid ?? 0) : supervisor.pid, signal);
    await ended;
    await vi.waitFor(() => expect(runs(supervisor.pid)).toBe(false), { timeout: BACK_MS, interval: 20 });
    if (process.platform === "linux") expect(carriers("AIBRIX_STACK_DIR", stack.dir)).toEqual([]);
    expect(["stack.json", "run.json"].filter((name) => existsSync(join(stack.dir, name)))).toEqual([]);
  });
});

/** What this story reads of `run.json`. */
interface RunFile {
  readonly supervisor: { readonly pid: number };
  readonly parts: Readonly<Record<string, unknown>>;
}

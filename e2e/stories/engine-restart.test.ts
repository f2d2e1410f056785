// Parts crash. They come back by themselves, and adapters with them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { StackFile } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { cli, ENGINE } from "../support/cli.ts";
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

  const pids = () => (JSON.parse(readFileSync(join(stack.dir, "stack.json"), "utf8")) as StackFile).pids;

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
    const before = JSON.parse(readFileSync(join(stack.dir, "stack.json"), "utf8")) as StackFile;
    process.kill(before.pids.supervisor ?? 0, "SIGKILL");
    await vi.waitFor(() => expect(runs(before.pids.supervisor ?? 0)).toBe(false), { timeout: BACK_MS, interval: 20 });
    const status = await cli(["status", "--dir", stack.dir]);
    expect(status).toMatchObject({ code: 1, output: expect.stringContaining("was killed. End what it left with: npm run stop") });
    expect((await stack.stop()).code).toBe(0);
    expect(Object.entries(before.pids).filter(([, pid]) => runs(pid))).toEqual([]);
    for (const url of addresses(before)) expect(await listens(url), url).toBe(false);
  });

  test("a start that is interrupted leaves nothing", async () => {
    const again = startStack({ folder: stack.folder }).catch((error: unknown) => error);
    const run = await vi.waitFor(
      () => JSON.parse(readFileSync(join(stack.dir, "run.json"), "utf8")) as { supervisor: { pid: number }; parts: object },
      { timeout: BACK_MS, interval: 5 },
    );
    process.kill(run.supervisor.pid, "SIGTERM");
    await again;
    expect(runs(run.supervisor.pid)).toBe(false);
    if (process.platform === "linux") expect(carriers("AIBRIX_STACK_DIR", stack.dir)).toEqual([]);
  });
});

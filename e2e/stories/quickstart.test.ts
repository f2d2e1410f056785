// A newcomer: starts the stack, asks the base model and adapters by name, adds one, takes one away, stops.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { WatchEvent } from "@aibrix/api";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { cli, ENGINE } from "../support/cli.ts";
import { type Answer, ask, complete, errorOf, models } from "../support/client.ts";
import { BASE_MODEL, dropManifest, manifest } from "../support/manifest.ts";
import { addresses, listens, runs } from "../support/processes.ts";
import { type Stack, startStack } from "../support/stack.ts";

const SERVED_MS = 30_000;

let stack: Stack;
beforeAll(async () => {
  const manifests = {
    "sql.yaml": manifest("sql-lora", "huggingface://acme/sql-lora"),
    "chat.yaml": manifest("chat-lora", "hf://acme/chat-lora"),
  };
  stack = await startStack({ manifests });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

test("start says what it does, and what to type next", () => {
  for (const part of ["hub", "engine-1", "runtime-1", "gateway", "envoy"]) expect(stack.output).toContain(`${part} ready after`);
  expect(stack.output).toMatch(/ready after .*: http:\/\/127\.0\.0\.1:\d+/);
  expect(stack.output).toContain(`curl ${stack.gateway}/v1/completions`);
  expect(stack.output).toContain(`npm run stop -- --dir ${stack.dir}`);
  expect(stack.output).not.toContain("warning");
});

test("the gateway lists the base model and both adapters", async () => {
  expect(await models(stack.gateway)).toEqual(expect.arrayContaining([BASE_MODEL, "chat-lora", "sql-lora"]));
});

test.runIf(ENGINE === "mock")("base model and adapters answer, each from its own weights", async () => {
  expect(await ask(stack.gateway, BASE_MODEL)).toMatchObject({ model: BASE_MODEL, digest: undefined });
  for (const name of ["sql-lora", "chat-lora"]) {
    expect(await ask(stack.gateway, name)).toMatchObject({ model: name, digest: await stack.digest(`acme/${name}`), consistent: true });
  }
});

test("base model and adapters answer differently", async () => {
  // One after the other: a vLLM on a CPU answers a base model's request that shares a batch with an adapter's from the adapter's weights.
  const answers: Answer[] = [];
  for (const name of [BASE_MODEL, "sql-lora", "chat-lora"]) answers.push(await complete(stack.gateway, name));
  expect(answers.map((a) => a.status)).toEqual([200, 200, 200]);
  expect(new Set(answers.map((a) => a.text)).size).toBe(3);
});

test("a manifest that is dropped into the folder is served, without a restart", async () => {
  expect((await complete(stack.gateway, "summary-lora")).status).toBe(404);
  const local = whenLocal(stack, "summary-lora");
  dropManifest(stack.adapters, "summary.yaml", manifest("summary-lora", "huggingface://acme/summary-lora"));
  const answer = await vi.waitFor(
    async () => {
      const got = await complete(stack.gateway, "summary-lora");
      expect(got.status, got.body).toBe(200);
      return got;
    },
    { timeout: SERVED_MS, interval: 10 },
  );
  const servedMs = performance.now();
  console.log(`summary-lora answered ${Math.round(servedMs - (await local))} ms after its artifact was local`);
  if (ENGINE === "mock") expect(answer.text).toContain(await stack.digest("acme/summary-lora"));
});

test("status shows every part, engine and adapter", async () => {
  const { code, output } = await cli(["status", "--dir", stack.dir]);
  expect(code).toBe(0);
  for (const part of ["supervisor", "hub", "engine-1", "runtime-1", "gateway", "envoy"])
    expect(output).toMatch(new RegExp(`^${part} +\\d+ `, "m"));
  for (const name of ["chat-lora", "sql-lora", "summary-lora"]) expect(output).toMatch(new RegExp(`^${name} +engine-1 +Serving`, "m"));
  const json = JSON.parse((await cli(["status", "--json", "--dir", stack.dir])).output);
  expect(json).toMatchObject({ state: "ready", stack: { mode: "standalone", gateway: stack.gateway } });
});

test("an adapter whose manifest is removed is unknown from then on, and the others go on", async () => {
  rmSync(join(stack.adapters, "summary.yaml"));
  await vi.waitFor(
    async () => {
      const gone = await complete(stack.gateway, "summary-lora");
      expect(gone.status).toBe(404);
      expect(errorOf(gone)).toMatchObject({ code: "model_not_found", message: expect.stringContaining("summary-lora") });
    },
    { timeout: SERVED_MS, interval: 20 },
  );
  expect((await complete(stack.gateway, "sql-lora")).status).toBe(200);
});

test("a second start in the same folder says that one runs, and what to type", async () => {
  const { code, output } = await cli(["start", "--detach", "--dir", stack.dir, "--adapters", stack.adapters]);
  expect(code).toBe(1);
  expect(output).toContain(`A stack runs already, at ${stack.gateway}`);
  expect(output).toContain(`npm run stop -- --dir ${stack.dir}`);
  expect((await complete(stack.gateway, BASE_MODEL)).status).toBe(200);
});

test("stop leaves no process and no port; a second stop says that nothing runs", async () => {
  const { code, output } = await stack.stop();
  expect(code, output).toBe(0);
  expect(Object.entries(stack.file.pids).filter(([, pid]) => runs(pid))).toEqual([]);
  for (const url of addresses(stack.file)) expect(await listens(url), url).toBe(false);
  const left = ["stack.json", "run.json", "data", "logs"].map((name) => existsSync(join(stack.dir, name)));
  expect(left).toEqual([false, false, true, true]);
  expect((await cli(["stop", "--dir", stack.dir])).output).toContain("No stack runs");
  expect(await cli(["status", "--dir", stack.dir])).toMatchObject({ code: 1, output: expect.stringContaining("No stack runs") });
});

/** Resolves with the moment at which an adapter's files are here, as the runtime's watch tells. */
async function whenLocal(of: Stack, name: string): Promise<number> {
  const response = await fetch(`${of.file.engines[0]?.runtime}/v1/lora_adapters?watch=true`, { signal: AbortSignal.timeout(SERVED_MS) });
  let rest = "";
  for await (const text of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const event of lines.filter((l) => l.trim() !== "").map((l) => JSON.parse(l) as WatchEvent)) {
      if (event.type === "ADAPTER" && event.object.lora_name === name && event.object.content_digest !== undefined)
        return performance.now();
    }
  }
  throw new Error("the watch ended");
}

// Engines that the user runs: one that is fine, one that was started without runtime updating, one that is down and comes late.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeBaseModel } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { cli, ENGINE } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { type OwnEngine, ownEngine } from "../support/engine.ts";
import { BASE_MODEL, manifest } from "../support/manifest.ts";
import { newFolder, type Stack, startStack, tryStart } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";

const UPDATING = { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" };
const LATE_MS = 60_000;

describe.skipIf(ENGINE === "vllm")("engines of the user", () => {
  let base: string;
  const engines: OwnEngine[] = [];
  let stack: Stack;

  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), "aibrix-base-"));
    await writeBaseModel(base);
    engines.push(...(await Promise.all([ownEngine(), ownEngine(), ownEngine()])));
    engines[0]?.start(base, UPDATING);
    engines[1]?.start(base, {});
    await Promise.all([engines[0]?.healthy(), engines[1]?.healthy()]);
    stack = await startStack({
      manifests: { "sql.yaml": manifest("sql-lora", "hf://acme/sql-lora") },
      engineUrls: engines.map((e) => e.url),
    });
  });
  afterAll(async () => {
    await stack?.[Symbol.asyncDispose]();
    await Promise.all(engines.map((e) => e.stop()));
    rmSync(base, { recursive: true, force: true });
  });

  test("each gets a runtime; stack.json names them", () => {
    expect(stack.file).toMatchObject({ engine: "external", engines: engines.map(({ url }) => ({ url })) });
    expect(Object.keys(stack.file.pids)).toEqual(expect.arrayContaining(["runtime-1", "runtime-2", "runtime-3"]));
    expect(Object.keys(stack.file.pids).filter((name) => name.startsWith("engine"))).toEqual([]);
  });

  test("the one without runtime updating: the warning says with what to start it", async () => {
    const state = await adapterState(stack, "sql-lora", (a) => a.state === "Failed", 1);
    expect(state).toMatchObject({
      reason: "EngineRuntimeUpdatingDisabled",
      message: expect.stringContaining("VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
    });
    expect(stack.output).toMatch(
      /^warning: sql-lora on engine-2: Failed {2}EngineRuntimeUpdatingDisabled: .*VLLM_ALLOW_RUNTIME_LORA_UPDATING=True/m,
    );
  });

  test("the one that is down: the warning says so, and what to check", () => {
    expect(stack.output).toMatch(new RegExp(`^warning: engine-3: .*${engines[2]?.url}.*(ECONNREFUSED).*check that it runs`, "m"));
  });

  test("base model and adapter answer meanwhile, from the engines that can", async () => {
    for (let i = 0; i < 6; i += 1) {
      expect((await ask(stack.gateway, "sql-lora")).digest).toBe(await stack.digest("acme/sql-lora"));
      expect((await ask(stack.gateway, BASE_MODEL)).model).toBe(BASE_MODEL);
    }
  });

  test("an engine that is slow to start gets its adapters once it answers", async () => {
    engines[2]?.start(base, UPDATING, ["--mock-startup-delay-ms=1500"]);
    await vi.waitFor(async () => expect((await stack.snapshot(2)).engine.ready).toBe(true), { timeout: LATE_MS, interval: 50 });
    expect(await adapterState(stack, "sql-lora", (a) => a.state === "Serving", 2)).toMatchObject({ attempts: 0 });
  });

  test("the engines run on when the stack stops", async () => {
    expect((await stack.stop()).code).toBe(0);
    for (const engine of engines) await engine.healthy();
  });

  test("a flag that needs engines of ours is refused", async () => {
    const folder = newFolder();
    const { code, output } = await tryStart({ engineUrls: [engines[0]?.url ?? ""], args: ["--engine-arg=--max-loras=4"] }, folder);
    rmSync(folder, { recursive: true });
    expect(code).toBe(2);
    expect(output).toContain("--engine-arg has nothing to act on");
  });
});

describe.skipIf(ENGINE === "vllm")("engines of the user with two base models", () => {
  test("each gets the adapters that select it; one that selects neither is told, and nothing else", async () => {
    const base = mkdtempSync(join(tmpdir(), "aibrix-base-"));
    const engines = await Promise.all([ownEngine(), ownEngine()]);
    try {
      await writeBaseModel(base);
      engines.forEach((engine, i) => void engine.start(base, UPDATING, ["--served-model-name", `model-${i}`]));
      await Promise.all(engines.map((e) => e.healthy()));
      const selecting = (name: string, model: string) =>
        manifest(name, "hf://acme/sql-lora", { baseModel: model, podSelector: { matchLabels: { "model.aibrix.ai/name": model } } });
      await using stack = await startStack({
        manifests: {
          // One file, one name, another engine each.
          "both.yaml": [selecting("sql", "model-0"), selecting("sql", "model-1")].join("---\n"),
          "first.yaml": selecting("first", "model-0"),
          "lost.yaml": selecting("lost", "model-7"),
        },
        engineUrls: engines.map((e) => e.url),
      });
      for (const engine of [0, 1]) await adapterState(stack, "sql", (a) => a.state === "Serving", engine);
      await adapterState(stack, "first", (a) => a.state === "Serving", 0);
      const says = (file: string, i: number) =>
        `${file} (lost): podSelector {model.aibrix.ai/name: model-7} does not match the labels of this engine (model.aibrix.ai/name: model-${i}): write the name of a base model that an engine serves, or start an engine that serves it`;
      expect(stack.output.split("\n").filter((line) => line.startsWith("warning: "))).toEqual(
        [0, 1].map((i) => `warning: ${says("lost.yaml", i)}`),
      );
      const { output } = await cli(["status", "--dir", stack.dir]);
      expect(output.split("PROBLEMS\n")[1]?.trimEnd().split("\n")).toEqual(
        [0, 1].map((i) => `  ${says(join(stack.adapters, "lost.yaml"), i)}`),
      );
    } finally {
      await Promise.all(engines.map((e) => e.stop()));
      rmSync(base, { recursive: true, force: true });
    }
  });
});

describe.skipIf(ENGINE === "vllm")("engines of ours", () => {
  test("one that is slow to start is waited for; until then there is no stack.json, and status says so", async () => {
    const folder = newFolder();
    const starting = startStack({ folder, args: ["--engine-arg=--mock-startup-delay-ms=3000"] });
    const status = await vi.waitFor(
      async () => {
        const { output } = await cli(["status", "--dir", join(folder, "state")]);
        expect(output).toMatch(/^runtime-1 /m);
        return output;
      },
      { timeout: LATE_MS, interval: 50 },
    );
    expect(status).toContain("is not ready: it is being started or stopped");
    expect(existsSync(join(folder, "state/stack.json"))).toBe(false);
    await using stack = await starting;
    expect((await ask(stack.gateway, BASE_MODEL)).model).toBe(BASE_MODEL);
  });

  test("one that cannot start: what it said, what to do, and nothing is left", async () => {
    const folder = newFolder();
    try {
      const { code, output } = await tryStart({ args: ["--engine-arg=--max-lora-rank=7"] }, folder);
      expect(code).toBe(1);
      expect(output).toMatch(
        /engine-1 ended with exit code \d before it was ready\. The end of .*engine-1\.log:\n.*max_lora_rank \(7\) must be one of/,
      );
      expect(output).toContain("--engine-arg");
      expect((await cli(["status", "--dir", join(folder, "state")])).output).toContain("No stack runs");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("two of them both serve every adapter", async () => {
    await using stack = await startStack({ manifests: { "a.yaml": manifest("sql-lora", "hf://acme/sql-lora") }, args: ["--engines=2"] });
    for (const engine of [0, 1])
      expect((await adapterState(stack, "sql-lora", (a) => a.state === "Serving", engine)).lora_name).toBe("sql-lora");
  });
});

// A real vLLM: what the gateway answers is, word for word, what the same engine answers with the adapter loaded by hand.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ensureVllm, vllmServeCommand, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { freePort } from "../support/engine.ts";
import { BASE_MODEL, dropManifest, manifest } from "../support/manifest.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";

const VLLM_MS = 600_000;
const ADAPTERS = ["sql-lora", "chat-lora"];

describe.runIf(ENGINE === "vllm")("a real vLLM", () => {
  let stack: Stack;
  let byHand: string;
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    stack = await startStack({
      manifests: Object.fromEntries(ADAPTERS.map((name) => [`${name}.yaml`, manifest(name, `hf://acme/${name}`)])),
    });
    byHand = await startByHand();
    for (const lora_name of ADAPTERS) {
      const body = JSON.stringify({ lora_name, lora_path: stack.hubRepo(`acme/${lora_name}`) });
      const response = await fetch(`${byHand}/v1/load_lora_adapter`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      expect(response.status, await response.text()).toBe(200);
    }
  }, 2 * VLLM_MS);
  afterAll(async () => {
    if (child !== undefined && child.exitCode === null) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    await stack?.[Symbol.asyncDispose]();
  });

  async function startByHand(): Promise<string> {
    const signal = AbortSignal.timeout(VLLM_MS);
    const { bin } = await ensureVllm({ log: console.log, signal });
    const port = await freePort();
    const { argv, env } = vllmServeCommand({
      bin,
      modelDir: stack.hubRepo("Qwen/Qwen2.5-Coder-1.5B-Instruct"),
      servedModelName: BASE_MODEL,
      port,
      cacheDir: join(stack.folder, "by-hand"),
    });
    const [file, ...args] = argv;
    child = spawn(file, args, { stdio: "ignore", env: { ...process.env, ...env } });
    const url = `http://127.0.0.1:${port}`;
    await vi.waitFor(async () => expect((await fetch(`${url}/health`)).ok).toBe(true), { timeout: VLLM_MS, interval: 500 });
    return url;
  }

  test.each([BASE_MODEL, ...ADAPTERS])("%s answers as by hand", async (model) => {
    const [ours, theirs] = await Promise.all([complete(stack.gateway, model), complete(byHand, model)]);
    expect(theirs.status, theirs.body).toBe(200);
    expect(ours.text).toBe(theirs.text);
    expect(ours.text.trim()).not.toBe("");
  });

  test("the three answer differently, so the comparison means something", async () => {
    const texts = new Set<string>();
    // One after the other: see quickstart.test.ts.
    for (const model of [BASE_MODEL, ...ADAPTERS]) texts.add((await complete(byHand, model)).text);
    expect(texts.size).toBe(3);
  });

  test("an adapter of too high a rank: the state says what to change, the others go on", async () => {
    const dir = join(stack.folder, "rank16");
    await writeBrokenAdapter(dir, "rank16");
    dropManifest(stack.adapters, "rank16.yaml", manifest("rank16", dir));
    const state = await adapterState(stack, "rank16", (a) => a.state === "Failed");
    expect(state).toMatchObject({ reason: "ArtifactUnfit", message: expect.stringMatching(/rank 16.*--max-lora-rank 16/) });
    expect((await complete(stack.gateway, "sql-lora")).status).toBe(200);
  });

  test(
    "after a kill -9 the engine is started again, and both adapters answer as before",
    async () => {
      process.kill(stack.file.pids["engine-1"] ?? 0, "SIGKILL");
      await vi.waitFor(async () => expect((await stack.snapshot()).engine.ready).toBe(false), { timeout: 30_000, interval: 50 });
      await vi.waitFor(
        async () => {
          for (const model of ADAPTERS) expect((await complete(stack.gateway, model)).text).toBe((await complete(byHand, model)).text);
        },
        { timeout: VLLM_MS, interval: 1_000 },
      );
    },
    VLLM_MS,
  );
});

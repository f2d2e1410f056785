// A real vLLM with few slots and many adapters: every answer is, word for word, the one that the adapter gives alone on another engine.
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { dropManifest, manifest } from "../support/manifest.ts";
import { ReferenceEngine } from "../support/reference.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";
import { streamed } from "../support/streams.ts";
import { inParallel, seeded, zipf } from "../support/traffic.ts";

const VLLM_MS = 600_000;
const SLOTS = ["--engine-arg=--max-loras=2", "--engine-arg=--max-cpu-loras=4"];
/** Fewer requests at once than the engine batches would not make it choose between adapters. */
const CLIENTS = 8;
/** More than the 12 names, so that each goes and comes again. */
const CYCLES = Number(process.env.AIBRIX_E2E_CYCLES ?? 100);

describe.runIf(ENGINE === "vllm")("a real vLLM with 2 slots on the device and 4 in memory", () => {
  let stack: Stack;
  let alone: ReferenceEngine;
  beforeAll(async () => {
    [stack, alone] = await ReferenceEngine.beside(startStack({ args: SLOTS }));
  }, 2 * VLLM_MS);
  afterAll(async () => {
    await alone?.close();
    await stack?.[Symbol.asyncDispose]();
  });

  /** Writes adapters to the local Hub, and learns what each answers alone. */
  async function publish(names: readonly string[], firstSeed: number): Promise<ReadonlyMap<string, string>> {
    const texts = new Map<string, string>();
    for (const [i, name] of names.entries()) {
      const dir = stack.hubRepo(`many/${name}`);
      await writeAdapter(dir, { seed: firstSeed + i });
      texts.set(name, await alone.textOf(dir));
    }
    expect(new Set(texts.values()).size, "adapters that answer alike would prove nothing").toBeGreaterThan(0.9 * names.length);
    return texts;
  }

  const declare = (name: string) => dropManifest(stack.adapters, `${name}.yaml`, manifest(name, `hf://many/${name}`));
  const call = async (what: "load" | "unload", body: object) => {
    const response = await fetch(`${stack.file.engines[0]?.runtime}/v1/lora_adapter/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(response.ok, await response.text()).toBe(true);
  };
  const withdraw = (name: string) => rm(join(stack.adapters, `${name}.yaml`));
  const gone = (name: string) =>
    vi.waitFor(async () => expect((await stack.snapshot()).adapters.map((a) => a.lora_name)).not.toContain(name), {
      timeout: 60_000,
      interval: 50,
    });

  test(
    "100 adapters under requests by Zipf's law: all answer right, none is lost to eviction",
    async () => {
      const names = Array.from({ length: 100 }, (_, i) => `dense-${i}`);
      const texts = await publish(names, 1_000);
      for (const name of names) declare(name);
      for (const name of names) await adapterState(stack, name, (a) => a.state === "Serving");
      const draw = zipf(names, seeded(1));
      const asked = Array.from({ length: 1_000 }, draw);
      const wrong: string[] = [];
      await inParallel(asked, CLIENTS, async (name) => {
        const { status, text, body } = await complete(stack.gateway, name);
        if (status !== 200 || text !== texts.get(name)) wrong.push(`${name}: ${status} ${status === 200 ? text : body}`);
      });
      expect(wrong).toEqual([]);
      expect(new Set(asked).size).toBeGreaterThan(50);
      for (const name of names) expect((await complete(stack.gateway, name)).text, name).toBe(texts.get(name));
      for (const name of names) await withdraw(name);
      for (const name of names) await gone(name);
    },
    VLLM_MS,
  );

  test(
    `a storm of ${CYCLES} loads and unloads over 12 names, under requests: the engine lives, and no answer is wrong`,
    async () => {
      const names = Array.from({ length: 12 }, (_, i) => `storm-${i}`);
      const texts = await publish(names, 2_000);
      const stop = new AbortController();
      const wrong: string[] = [];
      let answered = 0;
      const random = seeded(2);
      const clients = Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          while (!stop.signal.aborted) {
            const name = names[Math.floor(random() * names.length)] ?? "";
            const { status, text, body } = await complete(stack.gateway, name);
            // What is not declared at that moment is unknown.
            if (status === 200 && text === texts.get(name)) answered += 1;
            else if (status !== 404 && status !== 503) wrong.push(`${name}: ${status} ${status === 200 ? text : body}`);
          }
        }),
      );
      const { boot_id: before } = (await stack.snapshot()).engine;
      try {
        // By calls, which let nothing drain: a manifest that goes waits for the requests of its name.
        for (let cycle = 0; cycle < CYCLES; cycle += 1) {
          const name = names[cycle % names.length] ?? "";
          await call("load", { lora_name: name, artifact_url: `hf://many/${name}` });
          await adapterState(stack, name, (a) => a.state === "Serving");
          // Half of the names stay a while, so that more are loaded than memory has slots for.
          if (cycle < 6) continue;
          const leaving = names[(cycle + 6) % names.length] ?? "";
          await call("unload", { lora_name: leaving });
          await gone(leaving);
        }
      } finally {
        stop.abort();
        await clients;
      }
      expect(wrong).toEqual([]);
      expect(answered).toBeGreaterThan(100);
      expect((await stack.snapshot()).engine).toMatchObject({ ready: true, boot_id: before });
      for (const { lora_name } of (await stack.snapshot()).adapters) await call("unload", { lora_name });
      for (const name of names) await gone(name);
    },
    VLLM_MS,
  );

  test(
    "an adapter that is taken away under 50 running streams: none is broken, and then the name is unknown",
    async () => {
      const texts = await publish(["streamed"], 3_000);
      const long = await alone.streamOf(stack.hubRepo("many/streamed"));
      expect(texts.get("streamed")).toBeDefined();
      declare("streamed");
      const { serving } = await adapterState(stack, "streamed", (a) => a.state === "Serving");
      const streams = await Promise.all(Array.from({ length: 50 }, () => streamed(stack.gateway, "streamed")));
      await withdraw("streamed");
      await adapterState(stack, "streamed", (a) => a.state === "Draining" && a.serving !== null);
      await vi.waitFor(async () => expect((await complete(stack.gateway, "streamed")).status).toBe(404), { timeout: 60_000, interval: 50 });
      const ended = await Promise.all(streams.map((s) => s.text()));
      expect(ended).toEqual(Array(50).fill(long));
      await gone("streamed");
      // The engine's process may read them again as long as it lives.
      expect(existsSync(serving?.path ?? "")).toBe(true);
      const { "engine-1": pid } = stack.file.pids;
      if (pid === undefined) throw new Error("the engine has no process");
      process.kill(pid, "SIGKILL");
      await vi.waitFor(() => expect(existsSync(serving?.path ?? "")).toBe(false), { timeout: VLLM_MS, interval: 500 });
    },
    VLLM_MS,
  );
});

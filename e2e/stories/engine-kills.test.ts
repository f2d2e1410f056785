// An engine that is killed again and again under constant traffic: its adapters come back by themselves, and nobody gets a wrong answer.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { StandaloneFile } from "@aibrix/devcluster";
import { parseAnswer } from "@aibrix/mock-engine";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { manifest } from "../support/manifest.ts";
import { connectionsEnd } from "../support/processes.ts";
import { type Stack, startStack } from "../support/stack.ts";

/** A vLLM takes half a minute to start on two free cores, and the supervisor waits longer before each start of what crashes again and again. */
const KILLS = Number(process.env.AIBRIX_E2E_KILLS ?? (ENGINE === "vllm" ? 2 : 6));
const BACK_MS = ENGINE === "vllm" ? 300_000 : 60_000;
const CLIENTS = 4;
const NAMES = ["sql-lora", "chat-lora"];

describe("an engine that is killed under traffic, with a second one up", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({
      manifests: Object.fromEntries(NAMES.map((name) => [`${name}.yaml`, manifest(name, `hf://acme/${name}`)])),
      args: ["--engines=2", ...(ENGINE === "mock" ? ["--engine-arg=--mock-startup-delay-ms=500"] : [])],
    });
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  /** `undefined` while it is down. */
  const pid = () => (JSON.parse(readFileSync(join(stack.dir, "stack.json"), "utf8")) as StandaloneFile).pids["engine-1"];
  const otherThan = (before: number | undefined) =>
    vi.waitFor(
      () => {
        const now = pid();
        if (now === undefined || now === before) throw new Error("the engine was not started again");
        return now;
      },
      { timeout: BACK_MS, interval: 20 },
    );
  const serving = async (index = 0) => {
    const { engine, adapters } = await stack.snapshot(index);
    return engine.ready && NAMES.every((name) => adapters.some((a) => a.lora_name === name && a.state === "Serving"));
  };

  test(
    `${KILLS} times: each time it is back with its adapters, no answer is wrong, and only what ran on it fails`,
    async () => {
      // A request that only the one engine could answer would fail with it.
      for (const index of [0, 1]) await vi.waitFor(async () => expect(await serving(index)).toBe(true), { timeout: BACK_MS, interval: 10 });
      const right = new Map<string, string>();
      for (const name of NAMES) right.set(name, await answerOf(name));
      expect(new Set(right.values()).size).toBe(NAMES.length);
      const url = stack.file.engines[0]?.url;
      const stop = new AbortController();
      const wrong: string[] = [];
      /** Requests that came to nothing after the kill that is the last: when they began and failed, in milliseconds after the engine's end. */
      let failed: { readonly beganMs: number; readonly failedMs: number }[] = [];
      /** When the engine's connections had ended: what was sent before ran on it. */
      let endedMs = 0;
      let ended = true;
      let answered = 0;
      const client = async (first: number) => {
        for (let i = first; !stop.signal.aborted; i += 1) {
          const name = NAMES[i % NAMES.length] ?? "";
          const startedMs = performance.now();
          const answer = await complete(stack.gateway, name).catch((error: unknown) => ({ status: 0, text: "", body: String(error) }));
          const good = answer.status === 200 && weightsIn(answer.text) === right.get(name);
          if (!good) failed.push({ beganMs: startedMs - endedMs, failedMs: performance.now() - endedMs });
          if (good) answered += 1;
          else if (answer.status === 200 || answer.status === 404 || (ended && startedMs > endedMs))
            wrong.push(`${name}: ${answer.status} ${answer.text || answer.body}, ${Math.round(startedMs - endedMs)} ms after the end`);
        }
      };
      const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
      try {
        for (let kill = 1; kill <= KILLS; kill += 1) {
          const before = await otherThan(undefined);
          const answeredBefore = answered;
          // What fails before the end is seen counts from the kill.
          endedMs = performance.now();
          ended = false;
          failed = [];
          const itsEnd = await connectionsEnd(`${url}/health`);
          process.kill(before, "SIGKILL");
          await itsEnd(AbortSignal.timeout(BACK_MS));
          endedMs = performance.now();
          ended = true;
          await otherThan(before);
          await vi.waitFor(async () => expect((await fetch(`${url}/health`)).ok).toBe(true), { timeout: BACK_MS, interval: 10 });
          const answersMs = performance.now();
          await vi.waitFor(async () => expect(await serving()).toBe(true), { timeout: BACK_MS, interval: 10 });
          tell(kill, { awayMs: answersMs - endedMs, restoredMs: performance.now() - answersMs, failed });
          await vi.waitFor(() => expect(answered).toBeGreaterThan(answeredBefore + 20), { timeout: BACK_MS, interval: 50 });
        }
      } finally {
        stop.abort();
        await clients;
      }
      expect(wrong).toEqual([]);
    },
    KILLS * 2 * BACK_MS,
  );

  /** One line of figures for each kill. */
  function tell(kill: number, { awayMs, restoredMs, failed }: Kill): void {
    const when = failed.map((f) => `${Math.round(f.beganMs)} to ${Math.round(f.failedMs)}`).join(", ");
    const requests = failed.length === 0 ? "no request failed" : `${failed.length} requests failed (ms after its end: ${when})`;
    console.log(
      `kill ${kill}: it answered ${(awayMs / 1000).toFixed(1)} s later, its adapters served ${Math.round(restoredMs)} ms after that; ${requests}`,
    );
  }

  async function answerOf(name: string): Promise<string> {
    const { status, text, body } = await complete(stack.gateway, name);
    expect(status, body).toBe(200);
    return weightsIn(text);
  }
});

/** What came of one kill. */
interface Kill {
  /** From the engine's end until it answers again. */
  readonly awayMs: number;
  /** From there until its adapters are served. */
  readonly restoredMs: number;
  readonly failed: readonly { readonly beganMs: number; readonly failedMs: number }[];
}

/** What an answer shows of the weights that it comes from: the mock engine names them, a real one's text differs. */
function weightsIn(text: string): string {
  return parseAnswer(text)?.digest ?? text;
}

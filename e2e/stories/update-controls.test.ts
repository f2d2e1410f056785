// What the stories of updates would show of an engine that is updated in another way than ours, by the same clients.
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { type OwnEngine, ownEngine } from "../support/engine.ts";
import { ReferenceEngine } from "../support/reference.ts";
import { contentIn, contentOf, UpdateClients } from "../support/update-clients.ts";

const NAME = "x-lora";
const ANSWER_MS = 300_000;
const BASE = "Qwen/Qwen2.5-Coder-1.5B-Instruct";

let folder: string;
let mock: OwnEngine | undefined;
let vllm: ReferenceEngine | undefined;
let url: string;
const dir = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aibrix-e2e-"));
  for (const seed of [1, 2, 3]) await writeAdapter(dir(`v${seed}`), { seed });
  if (ENGINE === "vllm") {
    vllm = await ReferenceEngine.start();
    url = vllm.url;
  } else {
    await writeBaseModel(dir(BASE));
    mock = await ownEngine();
    mock.start(dir(BASE), { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True" });
    await mock.healthy();
    url = mock.url;
  }
});
afterEach(async () => {
  await vllm?.close();
  await mock?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function call(what: "load" | "unload", body: object): Promise<number> {
  const response = await fetch(`${url}/v1/${what}_lora_adapter`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ lora_name: NAME, ...body }),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  await response.text();
  return response.status;
}

async function answered(clients: UpdateClients, more: number): Promise<void> {
  const then = clients.answers.length;
  await vi.waitFor(() => expect(clients.answers.length).toBeGreaterThan(then + more), { timeout: ANSWER_MS, interval: 20 });
}

test(
  "the same path, loaded in place, gives text of neither content",
  async () => {
    const [old, fresh] = [await contentIn(dir("v1"), vllm), await contentIn(dir("v2"), vllm)];
    expect(old).not.toBe(fresh);
    await cp(dir("v1"), dir("served"), { recursive: true });
    expect(await call("load", { lora_path: dir("served") })).toBe(200);
    const clients = new UpdateClients(url, NAME, 6);
    await answered(clients, 6);
    expect(clients.answers.filter((a) => contentOf(a.text) !== old)).toEqual([]);
    await cp(dir("v2"), dir("served"), { recursive: true });
    expect(await call("load", { lora_path: dir("served"), load_inplace: true })).toBe(200);
    await answered(clients, 12);
    await clients.stop();
    expect(clients.answers.filter((a) => ![old, fresh].includes(contentOf(a.text))).length).toBeGreaterThan(0);
  },
  2 * ANSWER_MS,
);

// The mock engine does not end of it.
describe.runIf(ENGINE === "vllm" && process.env.AIBRIX_E2E_UPDATES !== undefined)("without waiting for requests", () => {
  const SWAPS = 120;
  const PERIOD_MS = 250;

  test(
    "one swap after the other ends the engine",
    async () => {
      expect(await call("load", { lora_path: dir("v1") })).toBe(200);
      const clients = new UpdateClients(url, NAME, 12);
      await answered(clients, 12);
      let swaps = 0;
      const lives = async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true;
      while (swaps < SWAPS && (await lives())) {
        await call("unload", {}).catch(() => undefined);
        await call("load", { lora_path: dir(`v${(++swaps % 3) + 1}`) }).catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
      }
      const alive = await lives();
      // Clients of an engine that is gone fail at once, again and again.
      await clients.stop();
      console.log(`after ${swaps} swaps without draining the engine ${alive ? "lives" : "has ended"}`);
      expect(alive).toBe(false);
    },
    2 * ANSWER_MS,
  );
});

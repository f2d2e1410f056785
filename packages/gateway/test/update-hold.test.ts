import { request as httpRequest } from "node:http";
import type { AdapterStatus } from "@aibrix/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type DataPath, type DataPathOptions, type Reply, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const SWAPPING = { serving: null, state: "Updating" } as const;
const FORM = { "content-type": "multipart/form-data; boundary=x" };

let engine: StandInEngine;
let runtime: FakeRuntime;
let path: DataPath;

async function start(options: DataPathOptions = {}): Promise<void> {
  path = await startDataPath([engine], [{ engine: engine.url, runtime: runtime.url }], options);
  await until("it serves", async () => (await path.complete("lora")).status === 200);
  engine.seen.length = 0;
}

beforeEach(async () => {
  engine = await new StandInEngine("a", ["base", "lora"]).start();
  runtime = await new FakeRuntime(engine.url, ["base"]).start();
  runtime.setAdapter("lora");
});

afterEach(async () => {
  await path?.stop();
  await Promise.all([runtime?.stop(), engine?.stop()]);
});

async function metric(name: string): Promise<number> {
  const page = await (await fetch(`${path.gatewayUrl}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(page)?.[1]);
}

const held = async (): Promise<number> => await metric("aibrix_gateway_held_requests");

/** Asks as soon as the gateway knows of the swap: what asks before would be sent on. */
async function askWhileSwapping(state: Partial<AdapterStatus>, ...calls: (() => Promise<Reply>)[]): Promise<Promise<Reply>[]> {
  runtime.setAdapter("lora", state);
  await until("it is known", async () => !(await path.call("/v1/models")).text.includes("lora"));
  const asked = calls.map((call) => call());
  await until("all are held", async () => (await held()) === calls.length);
  return asked;
}

test("a request for an adapter whose only engine swaps its content is held, and answered by the new content", async () => {
  await start();
  const form = '--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nlora\r\n--x--\r\n';
  const answers = await askWhileSwapping(
    SWAPPING,
    () => path.complete("lora"),
    () => path.complete("lora", { body: `{"model":"lora","prompt":"${"x".repeat(1024 * 1024)}"}` }),
    () => path.call("/v1/audio/transcriptions", { body: form, headers: FORM }),
  );
  expect(engine.count).toBe(0);
  expect((await path.complete("base")).status).toBe(200);
  engine.handler = (_request, response) => response.end("new");
  runtime.setAdapter("lora");
  expect((await Promise.all(answers)).map(({ status, text }) => [status, text])).toEqual([
    [200, "new"],
    [200, "new"],
    [200, "new"],
  ]);
  expect(await held()).toBe(0);
});

test("new requests are held, too, while the new content waits for those of the old to end", async () => {
  await start();
  const waits = { state: "Updating", waits_since: "2026-01-02T03:04:05Z" } as const;
  const [answer] = await askWhileSwapping(waits, () => path.complete("lora"));
  expect(engine.count).toBe(0);
  runtime.setAdapter("lora");
  expect((await answer)?.status).toBe(200);
});

test("an adapter that is not swapped, or whose swap fails, is refused as ever", async () => {
  await start({ gatewayArgs: ["--update-hold=44s"] });
  const [answer] = await askWhileSwapping(SWAPPING, () => path.complete("lora"));
  runtime.setAdapter("lora", { serving: null, state: "Failed", reason: "EngineRefused", message: "no" });
  const refused = await answer;
  expect([refused?.status, refused?.json.error.code, refused?.headers["retry-after"]]).toEqual([503, "model_not_ready", "60"]);
  expect((await path.complete("lora")).status).toBe(503);
});

test("a request that is held for too long is a 503 that says when to ask again; without a hold it is one soon", async () => {
  await start({ gatewayArgs: ["--update-hold=1s"] });
  const [answer] = await askWhileSwapping(SWAPPING, () => path.complete("lora"));
  const refused = await answer;
  expect([refused?.status, refused?.headers["retry-after"]]).toEqual([503, "2"]);
  expect(refused?.json.error.message).toContain("it is Updating");
  expect(await metric('aibrix_gateway_waits_total{result="given_up"}')).toBe(1);
});

test("a request whose client leaves is held no longer", async () => {
  await start();
  runtime.setAdapter("lora", SWAPPING);
  const request = httpRequest(`${path.url}/v1/completions`, { method: "POST" });
  request.on("error", () => undefined).end('{"model":"lora"}');
  await until("it is held", async () => (await held()) === 1);
  request.destroy();
  await until("it is not any more", async () => (await held()) === 0);
  expect(await metric('aibrix_gateway_waits_total{result="aborted"}')).toBe(1);
  expect(engine.count).toBe(0);
});

test("a gateway that is told to end answers what it holds once the engine serves again", async () => {
  await start();
  const [answer] = await askWhileSwapping(SWAPPING, () => path.complete("lora"));
  const ended = path.gateway().stop();
  await until("it ends", () => fetch(`${path.gatewayUrl}/readyz`).then((r) => !r.ok));
  runtime.setAdapter("lora");
  expect((await answer)?.status).toBe(200);
  expect(await ended).toBe(0);
  expect(path.gateway().output()).toContain('"clean":true');
});

test("a gateway that ends refuses what it holds with its own words, before it is gone", async () => {
  await start();
  const [answer] = await askWhileSwapping(SWAPPING, () => path.complete("lora"));
  const ended = path.gateway().stop();
  const refused = await answer;
  expect([refused?.status, refused?.json.error.code, refused?.headers["retry-after"]]).toEqual([503, "model_not_ready", "2"]);
  expect(await ended).toBe(0);
  expect(path.gateway().output()).toContain('"clean":true');
});

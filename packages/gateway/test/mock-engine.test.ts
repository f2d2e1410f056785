import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAdapter, writeBaseModel } from "@aibrix/devcluster";
import { buildEngine, parseAnswer } from "@aibrix/mock-engine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DataPath, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { until } from "./support/wait.ts";

type Engine = Awaited<ReturnType<typeof buildEngine>>;

let dir: string;
let engines: Engine[];
let urls: string[];
let runtime: FakeRuntime;
let path: DataPath;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "aibrix-gateway-"));
  await writeBaseModel(join(dir, "base"));
  await Promise.all([1, 2].map((seed) => writeAdapter(join(dir, `v${seed}`), { seed })));
  engines = await Promise.all(
    [0, 1].map(() =>
      buildEngine({
        model: join(dir, "base"),
        servedModelNames: ["base"],
        enableLora: true,
        maxLoras: 2,
        maxCpuLoras: 4,
        allowRuntimeLoraUpdating: true,
        logLevel: "silent",
        hub: { offline: true },
      }),
    ),
  );
  urls = await Promise.all(engines.map((engine) => engine.listen({ host: "127.0.0.1", port: 0 })));
  runtime = await new FakeRuntime(urls[0] ?? "", ["base"]).start();
  runtime.setAdapter("one");
  path = await startDataPath(
    engines.map((engine) => engine.server.address() as AddressInfo),
    urls.map((engine) => ({ engine })),
  );
});

afterAll(async () => {
  await path?.stop();
  await runtime?.stop();
  await Promise.all((engines ?? []).map((engine) => engine.close()));
  await rm(dir, { recursive: true, force: true });
});

async function lora(index: number, action: "load" | "unload", name: string, version?: number): Promise<void> {
  const answer = await fetch(`${urls[index]}/v1/${action}_lora_adapter`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ lora_name: name, ...(version === undefined ? {} : { lora_path: join(dir, `v${version}`) }) }),
  });
  if (!answer.ok) throw new Error(`${action} ${name}: ${answer.status} ${await answer.text()}`);
}

test("each adapter answers with its own weights, from the engine that has it", async () => {
  await lora(0, "load", "one", 1);
  await lora(1, "load", "two", 2);
  await until("both are known", async () => (await path.call("/v1/models")).json.data.length === 3);
  const [base, one, two] = await Promise.all(["base", "one", "two"].map((model) => path.complete(model)));
  const digests = [base, one, two].map((r) => parseAnswer(r?.json.choices[0].text)?.digest);
  expect([base?.status, one?.status, two?.status]).toEqual([200, 200, 200]);
  expect(new Set(digests).size).toBe(3);
  expect((await path.call("/v1/models/one")).json).toMatchObject({ parent: "base", root: join(dir, "v1") });
});

test("a body that is no JSON before its end is refused by the engine, for Envoy found the model at the end", async () => {
  const end = `"prompt":"x","user":"${"x".repeat(50_000)}","model":"base"}`;
  const send = async (body: string) => await path.call("/v1/completions", { body, headers: { "content-type": "application/json" } });
  expect((await send(`{${end}`)).status).toBe(200);
  for (const start of ["", "[", '{"a":1}{', '{"a":tru,', '{"a":[1},', '{"a":"b\nc",', '{"a":01,', '{"a" 1,', '{"a":1,"model":"one"}{']) {
    const { status, json } = await send(start + end);
    // The type is the engine's: the gateway's own refusals have another one.
    expect({ start, status, type: json.error?.type }).toEqual({ start, status: 400, type: "Bad Request" });
  }
  const metrics = await (await fetch(`${path.gatewayUrl}/metrics`)).text();
  expect(metrics).toContain('aibrix_gateway_requests_total{result="routed",model_from="envoy",code=""}');
});

test("an adapter that is swapped under its name is served without a failure", async () => {
  await lora(0, "load", "swapped", 1);
  // Followed by a stream: a list that is read in the gap would show the adapter as gone for two seconds.
  runtime.setAdapter("swapped");
  await path.writeEndpoints(urls.map((engine, i) => (i === 0 ? { engine, runtime: runtime.url } : { engine })));
  await until("it is served", async () => (await path.complete("swapped")).status === 200);
  let swapping = true;
  const failures: string[] = [];
  const client = async (): Promise<void> => {
    while (swapping) {
      const answer = await path.complete("swapped");
      if (answer.status !== 200) failures.push(`${answer.status} ${answer.text}`);
    }
  };
  const clients = [client(), client(), client()];
  for (const version of [2, 1, 2, 1]) {
    await lora(0, "unload", "swapped");
    await lora(0, "load", "swapped", version);
    await path.complete("swapped");
  }
  swapping = false;
  await Promise.all(clients);
  expect(failures).toEqual([]);
});

test("a chat streams", async () => {
  const answer = await fetch(`${path.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "one", stream: true, max_tokens: 8, messages: [{ role: "user", content: "hello" }] }),
  });
  expect(answer.headers.get("content-type")).toContain("text/event-stream");
  const text = await answer.text();
  expect(text.split("\n\n").length).toBeGreaterThan(4);
  expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
});

import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type HubCall, startHub } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { adapterDigest, buildEngine, type EngineInput, parseAnswer } from "../src/index.ts";
import { Client, EventStream, streamedText } from "./http.ts";
import { createWorld, type World } from "./world.ts";

const closing: (() => Promise<unknown>)[] = [];
let world: World;

beforeAll(async () => {
  world = await createWorld();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(async () => {
  await world.close();
});

/** An engine inside this process. */
async function start(input: EngineInput = {}): Promise<Client> {
  const defaults = {
    model: world.model,
    servedModelNames: ["tiny"],
    enableLora: true,
    maxLoras: 2,
    allowRuntimeLoraUpdating: true,
    maxLoraRank: 8,
  };
  const app = await buildEngine({ ...defaults, hub: { offline: true }, ...input });
  closing.push(() => app.close());
  return new Client(await app.listen({ port: 0, host: "127.0.0.1" }));
}

describe("answers", () => {
  test("name the model and the digest of its weights", async () => {
    const client = await start();
    await client.mustLoad("sql", world.path("sql"));
    const digest = await adapterDigest(world.path("sql"));
    expect(parseAnswer(await client.text("sql", { maxTokens: 4 }))).toEqual({ model: "sql", digest, tokens: 4, consistent: true });
    expect(parseAnswer(await client.text("tiny", { maxTokens: 1 }))).toEqual({
      model: "tiny",
      digest: undefined,
      tokens: 1,
      consistent: true,
    });
  });

  test("two adapters have two digests", async () => {
    expect(await adapterDigest(world.path("sql"))).not.toBe(await adapterDigest(world.path("chat")));
  });

  test("load_inplace under a stream gives text of neither version", async () => {
    const client = await start({ settings: { tokenDelayMs: 2 } });
    await client.mustLoad("torn", world.path("sql"));
    const json = { model: "torn", prompt: "hello", max_tokens: 200, stream: true };
    const stream = await new EventStream(await client.open("/v1/completions", { json })).begin();
    expect((await client.load("torn", world.path("chat"), { load_inplace: true })).status).toBe(200);
    const answer = parseAnswer(streamedText(await stream.end()));
    expect(answer).toMatchObject({ digest: await adapterDigest(world.path("sql")), tokens: 200, consistent: false });
  });

  test("a long answer comes whole, streamed or not", async () => {
    const client = await start({ maxModelLen: 8192 });
    const text = await client.text("tiny", { maxTokens: 5000 });
    expect(parseAnswer(text)).toMatchObject({ tokens: 5000, consistent: true });
    const stream = new EventStream(await client.open("/v1/completions", { json: { prompt: "hello", max_tokens: 5000, stream: true } }));
    expect(streamedText(await stream.end())).toBe(text);
  });
});

describe("requests", () => {
  test("a client that goes away gives its place back", async () => {
    const client = await start({ settings: { tokenDelayMs: 60_000 } });
    const controller = new AbortController();
    const body = JSON.stringify({ prompt: "hello", stream: true });
    const headers = { "content-type": "application/json" };
    const request = fetch(`${client.url}/v1/completions`, { method: "POST", headers, body, signal: controller.signal }).catch(
      () => undefined,
    );
    const running = async (): Promise<string | undefined> =>
      /^vllm:num_requests_running\{.*\} (\d+)$/m.exec((await client.call("/metrics")).text)?.[1];
    await expect.poll(running).toBe("1");
    controller.abort();
    await request;
    await expect.poll(running).toBe("0");
    expect((await client.call("/metrics")).text).toMatch(/^vllm:request_success_total\{.*finished_reason="abort"\} 1$/m);
  });

  test("counts tokens", async () => {
    const client = await start();
    await client.text("tiny", { prompt: "x".repeat(40), maxTokens: 7 });
    const { text } = await client.call("/metrics");
    expect(text).toMatch(/^vllm:prompt_tokens_total\{.*\} 10$/m);
    expect(text).toMatch(/^vllm:generation_tokens_total\{.*\} 7$/m);
  });
});

describe("settings", () => {
  test("errors in the flat shape of older releases", async () => {
    const client = await start({ settings: { errorShape: "flat" } });
    const answer = await client.call("/v1/completions", { json: { model: "nope", prompt: "hello" } });
    expect({ status: answer.status, body: JSON.parse(answer.text) }).toEqual({
      status: 404,
      body: {
        object: "error",
        message: "The model `nope` does not exist. Valid aliases: tiny.",
        type: "NotFoundError",
        param: "model",
        code: 404,
      },
    });
    expect(JSON.parse((await client.call("/nope")).text)).toEqual({ detail: "Not Found" });
  });

  test("change while it runs", async () => {
    const client = await start();
    const changed = await client.call("/mock/settings", { json: { errorShape: "flat", tokenDelayMs: 1 } });
    const want = { loadDelayMs: 0, tokenDelayMs: 1, crashOnLoad: null, errorShape: "flat" };
    expect(JSON.parse(changed.text)).toEqual(want);
    expect(JSON.parse((await client.call("/mock/settings")).text)).toEqual(want);
    expect(JSON.parse((await client.unload("x")).text)).toMatchObject({ object: "error" });
  });

  test.each([
    [{ tokenDelay: 1 }, "unknown setting tokenDelay; known: loadDelayMs, tokenDelayMs, crashOnLoad, errorShape"],
    [{ tokenDelayMs: -1 }, "tokenDelayMs cannot be -1"],
    [{ errorShape: "round" }, 'errorShape cannot be "round"'],
  ])("%j is refused, and nothing changes", async (json, message) => {
    const client = await start();
    const before = (await client.call("/mock/settings")).text;
    const answer = await client.call("/mock/settings", { json: { loadDelayMs: 5, ...json } });
    expect({ status: answer.status, body: JSON.parse(answer.text) }).toMatchObject({ status: 400, body: { error: { message } } });
    expect((await client.call("/mock/settings")).text).toBe(before);
  });
});

describe("hub", () => {
  async function hub(): Promise<{ readonly url: string; readonly calls: HubCall[]; close(): Promise<void> }> {
    const calls: HubCall[] = [];
    const { url, close } = await startHub({ root: join(world.folder, "hub"), onCall: (call) => calls.push(call) });
    closing.push(() => close().catch(() => undefined));
    return { url, calls, close };
  }

  test("a second load asks only for the commit, and needs no hub at all", async () => {
    const { url, calls, close } = await hub();
    const home = join(world.folder, "home");
    await mkdir(home, { recursive: true });
    const client = await start({ hub: { endpoint: url, token: "t", home, offline: false } });
    await client.mustLoad("sql", "acme/sql");
    expect(calls.length).toBeGreaterThan(2);
    expect(calls[0]).toMatchObject({ authorized: true });
    await client.mustUnload("sql");
    calls.length = 0;
    await client.mustLoad("sql", "acme/sql");
    expect(calls.map(({ method, url: path }) => `${method} ${path}`)).toEqual(["GET /api/models/acme/sql/revision/main"]);
    await client.mustUnload("sql");
    await close();
    await client.mustLoad("sql", "acme/sql");
    expect(await readdir(join(home, "hub"))).toEqual(["models--acme--sql"]);
  });

  test("offline, what is not in the cache is not there, and the hub is not asked", async () => {
    const { url, calls } = await hub();
    const client = await start({ hub: { endpoint: url, offline: true } });
    expect((await client.load("sql", "acme/sql")).status).toBe(404);
    expect(calls).toEqual([]);
  });
});

describe("death", () => {
  test("unload, then delete, while one request still waits", async () => {
    const client = await start({ maxLoras: 1, settings: { tokenDelayMs: 5 } });
    const directory = await world.copy("sql");
    await client.mustLoad("running", world.path("chat"));
    await client.mustLoad("gone", directory);
    const json = { model: "running", prompt: "hello", max_tokens: 100, stream: true };
    const stream = await new EventStream(await client.open("/v1/completions", { json })).begin();
    const waiting = client.call("/v1/completions", { json: { model: "gone", prompt: "hello", max_tokens: 2 } });
    await expect.poll(async () => (await client.call("/metrics")).text).toMatch(/reason="deferred"\} 1$/m);
    await client.mustUnload("gone");
    await world.remove(directory);
    expect((await stream.end()).at(-1)).toBe("[DONE]");
    expect((await waiting).status).toBe(500);
  });

  test("an engine inside a process closes its server and leaves the process alone", async () => {
    const client = await start({ maxLoras: 1 });
    const directory = await world.copy("sql");
    await client.mustLoad("gone", directory);
    await client.mustLoad("other", world.path("chat"));
    await world.remove(directory);
    const json = { model: "gone", prompt: "hello" };
    expect((await client.call("/v1/completions", { json })).status).toBe(500);
    expect((await client.call("/health")).status).toBe(503);
    expect((await client.load("late", world.path("sql"))).status).toBe(500);
    const health = (): Promise<number | string> =>
      client.call("/health").then(
        ({ status }) => status,
        () => "refused",
      );
    await expect.poll(health).toBe("refused");
  });
});

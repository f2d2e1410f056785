import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CallCancelled, CallError } from "./agent.ts";
import { adaptersOf, DirectAgent } from "./direct.ts";
import { podDispatcher } from "./http.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const LIST = JSON.stringify({ data: [{ id: "base" }, { id: "x", root: "/models/x", parent: "base" }] });

let server: Server;
let stop: AbortController;
let running: Promise<void>;
let agent: DirectAgent;
let looks = 0;
let answer: (reply: ServerResponse) => void;
const dispatcher = podDispatcher();

async function listen(port = 0): Promise<number> {
  server = createServer((_, reply) => {
    looks++;
    answer(reply);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function close(): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

let port = 0;

beforeEach(async () => {
  answer = (reply) => void reply.end(LIST);
  looks = 0;
  port = await listen();
  stop = new AbortController();
  agent = new DirectAgent({
    url: `http://127.0.0.1:${port}`,
    pod: "default/p",
    dispatcher,
    onChange: () => undefined,
    log: LOG,
    periodMs: 20,
    lostAfterMs: 2_000,
  });
  agent.follow("x", undefined);
  running = agent.run(stop.signal);
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("fresh"));
});

afterEach(async () => {
  stop.abort();
  await running;
  await close();
});

test("an engine that does not listen is lost at once, and what it had is known again when it answers", async () => {
  const before = performance.now();
  await close();
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("lost"), { interval: 5 });
  // Silence is believed for longer: it was not that.
  expect(performance.now() - before).toBeLessThan(700);
  expect(agent.view).toMatchObject({ problemReason: undefined, reborn: true, problem: expect.stringMatching(/ECONNREFUSED/) });
  await listen(port);
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("fresh"));
});

test.each([
  { name: "an error", spoil: (r: ServerResponse) => void r.writeHead(500).end("oops"), problem: /HTTP 500/ },
  { name: "what is no list", spoil: (r: ServerResponse) => void r.end("<html>"), problem: /no list of models/ },
  { name: "a broken connection", spoil: (r: ServerResponse) => void r.destroy(), problem: /does not answer/ },
])("an engine that answers with $name is believed for a while, and it is nothing that waits for an edit", async ({ spoil, problem }) => {
  answer = spoil;
  looks = 0;
  await vi.waitFor(() => expect(looks).toBeGreaterThan(3));
  expect(agent.view).toMatchObject({ knowledge: "fresh", problem: expect.stringMatching(problem) });
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("lost"), 10_000);
  expect(agent.view).toMatchObject({ problemReason: undefined, reborn: false });
});

test("one that wants another key is lost at once, for that waits for an edit", async () => {
  answer = (reply) => void reply.writeHead(401).end('{"error":"Unauthorized"}');
  await vi.waitFor(() => expect(agent.view).toMatchObject({ knowledge: "lost", problemReason: "EngineUnauthorized" }));
});

test("what is doubted is not believed until it was looked at anew, and an answer to an older question does not count", async () => {
  const held: ServerResponse[] = [];
  answer = (reply) => void held.push(reply);
  await vi.waitFor(() => expect(held).toHaveLength(1));
  agent.doubt("the container was started anew");
  expect(agent.view).toMatchObject({ knowledge: "lost", problem: "the container was started anew" });
  // It was asked before the doubt.
  held[0]?.end(LIST);
  await vi.waitFor(() => expect(held).toHaveLength(2));
  expect(agent.view.knowledge).toBe("lost");
  held[1]?.end(JSON.stringify({ data: [{ id: "base" }] }));
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("fresh"));
  expect([...agent.view.adapters.keys()]).toEqual(["base"]);
  answer = (reply) => void reply.end(LIST);
});

test.each([
  { status: 200, body: LIST, want: ["base", "x"] },
  { status: 200, body: "null", want: { reason: "EngineUnavailable", retryable: true } },
  { status: 404, body: '{"detail":"Not Found"}', want: { reason: "EngineUnavailable", retryable: true } },
  { status: 503, body: "", want: { reason: "EngineUnavailable", retryable: true } },
  { status: 401, body: '{"error":"Unauthorized"}', want: { reason: "EngineUnauthorized", retryable: false } },
])("HTTP $status $body", ({ status, body, want }) => {
  const outcome = () => {
    try {
      return [...adaptersOf({ status, body }).keys()];
    } catch (error) {
      const { reason, retryable } = error as CallError;
      return { reason, retryable, ours: error instanceof CallError };
    }
  };
  expect(outcome()).toEqual(Array.isArray(want) ? want : { ...want, ours: true });
});

describe("a load", () => {
  const CALL = {
    name: "y",
    artifactUrl: "/models/y",
    delivery: { kind: "asIs", path: "/models/y", checked: false },
    credentials: undefined,
    apiKey: "sk",
    owner: "modeladapter/default/y/u",
    adopt: false,
    probe: "auto",
    maxLoraRank: undefined,
    additionalConfig: {},
  } as const;
  const LISTED = JSON.stringify({ data: [{ id: "y", root: "/models/y", parent: "base" }] });
  let asked: string[];
  let completion: (reply: ServerResponse) => void;

  beforeEach(() => {
    asked = [];
    completion = (reply) => void reply.end("{}");
    answer = (reply) => {
      const { url = "" } = reply.req;
      if (url !== "/v1/models" && url !== "/metrics") asked.push(url);
      if (url === "/v1/completions") completion(reply);
      else reply.end(url === "/v1/models" ? LISTED : "Success");
    };
    agent.unfollow("x");
    agent.follow("y", "sk");
  });

  test("serves once the engine has answered, and not while it only lists it", async () => {
    const reply = Promise.withResolvers<ServerResponse>();
    completion = reply.resolve;
    const loading = agent.load({ ...CALL, delivery: { ...CALL.delivery, path: "/models/z" } }, stop.signal);
    const waiting = await reply.promise;
    expect(waiting.req.headers.authorization).toBe("Bearer sk");
    expect(agent.view.adapters.get("y")).toMatchObject({ state: "Loading", serving: false });
    waiting.end("{}");
    await loading;
    expect(agent.view.adapters.get("y")).toMatchObject({ state: "Serving", serving: true });
    expect(asked).toEqual(["/v1/load_lora_adapter", "/v1/completions"]);
  });

  test("tells how long the engine took for it, until nobody wants to know of it", async () => {
    await agent.load({ ...CALL, delivery: { ...CALL.delivery, path: "/models/z" } }, stop.signal);
    expect(agent.view.adapters.get("y")?.timings).toEqual({ downloadMs: undefined, loadMs: expect.any(Number) });
    agent.unfollow("y");
    agent.follow("y", "sk");
    await agent.refresh(stop.signal);
    expect(agent.view.adapters.get("y")).toMatchObject({ serving: true });
    expect(agent.view.adapters.get("y")?.timings).toBeUndefined();
  });

  test("in vain is asked for the answer again, and not to load again", async () => {
    completion = (reply) => void reply.writeHead(500).end('{"error":{"message":"EngineCore encountered an issue."}}');
    await expect(agent.load(CALL, stop.signal)).rejects.toMatchObject({
      reason: "ProbeFailed",
      retryable: true,
      message: expect.stringContaining("EngineCore encountered an issue."),
    });
    expect(agent.view.adapters.get("y")?.serving).toBe(false);
    completion = (reply) => void reply.end("{}");
    await agent.load(CALL, stop.signal);
    expect(agent.view.adapters.get("y")?.serving).toBe(true);
    expect(asked.filter((url) => url === "/v1/completions")).toHaveLength(2);
    expect(asked.filter((url) => url === "/v1/load_lora_adapter").length).toBeLessThan(2);
  });

  test("of newer content in place of what served is not asked for an answer, also where an earlier process loaded the older", async () => {
    completion = () => expect.fail("it was asked");
    await vi.waitFor(() => expect(agent.view.adapters.get("y")?.serving).toBe(true));
    const call = { name: "y", apiKey: "sk", owner: undefined, cleanup: true, graceSeconds: 0 };
    await agent.unload({ ...call, answered: true }, stop.signal);
    await agent.load({ ...CALL, delivery: { ...CALL.delivery, path: "/models/z" } }, stop.signal);
    expect(agent.view.adapters.get("y")?.serving).toBe(true);
    expect(asked).toEqual(["/v1/unload_lora_adapter", "/v1/load_lora_adapter"]);
    // What answered was another adapter's of the name.
    completion = (reply) => void reply.end("{}");
    await agent.unload({ ...call, answered: false }, stop.signal);
    await agent.load(CALL, stop.signal);
    expect(asked.filter((url) => url === "/v1/completions")).toHaveLength(1);
    // One that was given up begins anew.
    agent.unfollow("y");
    agent.follow("y", "sk");
    await agent.load(CALL, stop.signal);
    expect(asked.filter((url) => url === "/v1/completions")).toHaveLength(2);
  });

  test("whose question is left out later is not unloaded for the answer that it did not give", async () => {
    completion = (reply) => void reply.writeHead(500).end("oops");
    await vi.waitFor(() => expect(agent.view.adapters.get("y")?.root).toBe("/models/y"));
    await expect(agent.load(CALL, stop.signal)).rejects.toMatchObject({ reason: "ProbeFailed" });
    await agent.load({ ...CALL, probe: "off" }, stop.signal);
    expect(agent.view.adapters.get("y")?.serving).toBe(true);
    expect(asked).toEqual(["/v1/completions"]);
  });

  test("of a model without completions, or without the question, serves at once", async () => {
    completion = (reply) => void reply.writeHead(404).end('{"detail":"Not Found"}');
    await agent.load(CALL, stop.signal);
    expect(agent.view.adapters.get("y")?.serving).toBe(true);
    agent.unfollow("y");
    agent.follow("y", "sk");
    asked = [];
    await agent.load({ ...CALL, probe: "off" }, stop.signal);
    expect(asked).toEqual(["/v1/load_lora_adapter"]);
  });

  test("tells the engine's --max-loras by its metrics, and again that of the engine that comes after it", async () => {
    expect(agent.view.engineLimits).toBeUndefined();
    let maxLora = 3;
    const info = () => `vllm:lora_requests_info{max_lora="${maxLora}",running_lora_adapters="",waiting_lora_adapters=""} 1.7e9\n`;
    const before = answer;
    answer = (reply) => (reply.req.url === "/metrics" ? void reply.end(info()) : before(reply));
    await agent.load(CALL, stop.signal);
    expect(agent.view.engineLimits).toMatchObject({ maxLoras: 3 });
    await close();
    await vi.waitFor(() => expect(agent.view.knowledge).toBe("lost"));
    maxLora = 5;
    await listen(port);
    await vi.waitFor(() => expect(agent.view.engineLimits).toMatchObject({ maxLoras: 5 }));
  });
});

describe("an unload", () => {
  let maxLoras: number;
  const page = (...running: readonly string[]) =>
    [
      `vllm:num_requests_running ${running.length}`,
      "vllm:num_requests_waiting 0",
      `vllm:lora_requests_info{max_lora="${maxLoras}",running_lora_adapters="${running.join(",")}",waiting_lora_adapters=""} 1.7e9\n`,
    ].join("\n");
  const UNLOAD = { name: "x", apiKey: undefined, owner: undefined, cleanup: true, graceSeconds: 60 };
  let metrics: () => string;
  let unloads: number;
  let pages: number;
  /** How many there were before the last unload. */
  let pagesBefore: number;

  beforeEach(() => {
    unloads = 0;
    pages = 0;
    maxLoras = 1;
    answer = (reply) => {
      const { url } = reply.req;
      if (url === "/v1/unload_lora_adapter") {
        unloads++;
        pagesBefore = pages;
      }
      if (url === "/metrics") pages++;
      reply.end(url === "/metrics" ? metrics() : url === "/v1/models" ? LIST : "Success");
    };
  });

  test("for other content under the name waits for its requests, and shows that, where the engine has no slot for both", async () => {
    metrics = () => page("x");
    const unloading = agent.unload({ ...UNLOAD, swaps: true }, stop.signal);
    await vi.waitFor(() => expect(agent.view.adapters.get("x")?.waits).toBe(true));
    const before = looks;
    await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 10), { timeout: 10_000 });
    // What the engine lists is seen anew meanwhile.
    expect([unloads, agent.view.adapters.get("x")?.waits]).toEqual([0, true]);
    metrics = () => page();
    await unloading;
    expect(unloads).toBe(1);
    expect(agent.view.adapters.get("x")?.waits).toBeFalsy();
  });

  test("goes on to wait where one look at the metrics is in vain", async () => {
    let broken = false;
    let since = 0;
    metrics = () => {
      since += 1;
      return broken && since === 1 ? "" : page("x");
    };
    const unloading = agent.unload({ ...UNLOAD, swaps: true }, stop.signal);
    // Longer than an engine is waited for that never told anything.
    await vi.waitFor(() => expect(pages).toBeGreaterThan(55), { timeout: 20_000 });
    [broken, since] = [true, 0];
    await vi.waitFor(() => expect(since).toBeGreaterThan(3), { timeout: 5_000 });
    expect(unloads).toBe(0);
    metrics = () => page();
    await unloading;
    expect(unloads).toBe(1);
  }, 30_000);

  test("that is not wanted any more while it waits does nothing", async () => {
    metrics = () => page("x");
    const cancel = new AbortController();
    const unloading = agent.unload({ ...UNLOAD, swaps: true }, stop.signal, cancel.signal);
    await vi.waitFor(() => expect(agent.view.adapters.get("x")?.waits).toBe(true));
    cancel.abort();
    await expect(unloading).rejects.toBeInstanceOf(CallCancelled);
    expect([unloads, agent.view.adapters.get("x")?.waits]).toEqual([0, false]);
  });

  test("for other content does not wait where the engine has slots for both, but for the requests of one that did not", async () => {
    maxLoras = 4;
    metrics = () => page("x");
    await agent.unload({ ...UNLOAD, swaps: true }, stop.signal);
    expect(unloads).toBe(1);
    const unloading = agent.unload({ ...UNLOAD, swaps: true }, stop.signal);
    await vi.waitFor(() => expect(agent.view.adapters.get("x")?.waits).toBe(true));
    expect(unloads).toBe(1);
    metrics = () => page("y");
    await unloading;
    expect(unloads).toBe(2);
  });

  test("waits until no request of that name is left, and not at once", async () => {
    metrics = () => page("x", "y");
    const unloading = agent.unload(UNLOAD, stop.signal);
    await vi.waitFor(() => expect(pages).toBeGreaterThan(1), { timeout: 5_000 });
    expect(unloads).toBe(0);
    metrics = () => page("y");
    await unloading;
    expect(unloads).toBe(1);
  });

  test("waits no longer than its grace, and not at all without one", async () => {
    metrics = () => page("x");
    await agent.unload({ ...UNLOAD, graceSeconds: 2 }, stop.signal);
    expect([unloads, pages > 0]).toEqual([1, true]);
    // That name had requests when it went, so the metrics are looked at until it has none.
    metrics = () => page("y");
    await vi.waitFor(
      async () => {
        const [pagesThen, looksThen] = [pages, looks];
        await vi.waitFor(() => expect(looks).toBeGreaterThan(looksThen + 3), { timeout: 5_000 });
        expect(pages).toBe(pagesThen);
      },
      { timeout: 20_000 },
    );
    const before = pages;
    await agent.unload({ ...UNLOAD, graceSeconds: 0 }, stop.signal);
    expect([unloads, pagesBefore]).toEqual([2, before]);
  });

  test("that an engine refuses without a word that is known is asked for again", async () => {
    metrics = () => page();
    answer = (reply) => void (reply.req.url === "/v1/models" ? reply.end(LIST) : reply.writeHead(500).end("oops"));
    const refused = await agent.unload({ ...UNLOAD, graceSeconds: 0 }, stop.signal).catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: "EngineRefused", retryable: true });
  });

  test("waits a short time only for an engine that tells nothing", async () => {
    metrics = () => "nothing of the kind 1\n";
    await agent.unload(UNLOAD, stop.signal);
    expect(unloads).toBe(1);
  }, 20_000);
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdapterStatus } from "@aibrix/api";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { AdapterView } from "./agent.ts";
import { podDispatcher } from "./http.ts";
import { ownership, SidecarAgent } from "./sidecar.ts";

const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

let server: Server;
let onRequest: (request: IncomingMessage, reply: ServerResponse, body: string) => void;
let stop: AbortController;
let changes: (readonly string[] | undefined)[];
let agent: SidecarAgent;
let streams: ServerResponse[];
const dispatcher = podDispatcher();

beforeEach(async () => {
  server = createServer(async (request, reply) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    onRequest(request, reply, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stop = new AbortController();
  changes = [];
  streams = [];
  onRequest = (_request, reply) => {
    streams.push(reply);
    reply.write(line(snapshot([])));
  };
  agent = new SidecarAgent({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pod: "default/p",
    dispatcher,
    onChange: (names) => changes.push(names),
    log: LOG,
    silenceMs: 300,
    backoff: { baseMs: 5, maxMs: 20 },
  });
});

afterEach(async () => {
  stop.abort();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function line(event: object): string {
  return `${JSON.stringify(event)}\n`;
}

function snapshot(adapters: readonly AdapterStatus[], instance = "one", ready = true) {
  const engine = { url: "http://e", kind: "vllm", ready, base_models: [] };
  return { type: "SNAPSHOT", object: { instance_id: instance, engine, adapters, manifest_problems: [] } };
}

function status(name: string, more: Partial<AdapterStatus> = {}): AdapterStatus {
  const serving = { content_digest: "d", path: "/p", since: "2026-01-01T00:00:00Z" };
  return { lora_name: name, artifact_url: "hf://a/b", origin: "api", state: "Serving", serving, attempts: 0, ...more };
}

async function begin(): Promise<ServerResponse> {
  void agent.run(stop.signal);
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("fresh"));
  const [stream] = streams;
  if (stream === undefined) throw new Error("no stream");
  return stream;
}

test("follows adapters, the engine, and what goes", async () => {
  const stream = await begin();
  stream.write(line({ type: "ADAPTER", object: status("x") }));
  await vi.waitFor(() => expect(agent.view.adapters.get("x")).toMatchObject({ serving: true, own: true, contentDigest: "d" }));
  stream.write(line({ type: "ENGINE", object: { url: "http://e", kind: "vllm", ready: false, message: "away", base_models: [] } }));
  await vi.waitFor(() => expect(agent.view).toMatchObject({ engineReady: false, engineMessage: "away" }));
  stream.write(line({ type: "DELETED", lora_name: "x" }) + line({ type: "SOMETHING_NEW" }));
  await vi.waitFor(() => expect(agent.view.adapters.size).toBe(0));
  expect(changes).toEqual([undefined, ["x"], undefined, ["x"]]);
});

test("tells what the sidecar tells of rank, times and limits", async () => {
  const stream = await begin();
  stream.write(line({ type: "ADAPTER", object: status("x", { max_rank: 32, timings: { load_ms: 7 } }) }));
  const limits = { max_loras: 2, max_lora_rank: 16 };
  stream.write(line({ type: "ENGINE", object: { url: "http://e", kind: "vllm", ready: true, base_models: [], limits } }));
  await vi.waitFor(() => expect(changes).toEqual([undefined, ["x"], undefined]));
  expect(agent.view.adapters.get("x")).toMatchObject({ maxRank: 32, timings: { downloadMs: undefined, loadMs: 7 } });
  expect(agent.view.engineLimits).toEqual({ maxLoras: 2, maxCpuLoras: undefined, maxLoraRank: 16 });
});

test("a stream that breaks is begun anew, and what it said is believed meanwhile", async () => {
  const stream = await begin();
  stream.write(line({ type: "ADAPTER", object: status("x") }));
  await vi.waitFor(() => expect(agent.view.adapters.size).toBe(1));
  onRequest = (_request, reply) => void reply.socket?.destroy();
  stream.destroy();
  await vi.waitFor(() => expect(agent.view.problem).toMatch(/look into the log of the pod's container aibrix-runtime/));
  expect(agent.view).toMatchObject({ knowledge: "fresh" });
  onRequest = (_request, reply) => void reply.write(line(snapshot([status("x"), status("y")], "two")));
  await vi.waitFor(() => expect(agent.view).toMatchObject({ instance: "two", problem: undefined }));
  expect(agent.view.adapters.size).toBe(2);
});

test("silence makes it lost, and a snapshot makes it known again", async () => {
  const stream = await begin();
  onRequest = () => undefined;
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("lost"), { timeout: 5_000 });
  expect(stream.destroyed || stream.writableEnded || agent.view.problem !== undefined).toBe(true);
  onRequest = (_request, reply) => void reply.write(line(snapshot([])));
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("fresh"), { timeout: 5_000 });
});

test.each([
  { name: "no JSON", text: "<html>\n" },
  { name: "no snapshot", text: line({ type: "ADAPTER", object: status("x") }) },
  { name: "a snapshot without its parts", text: line({ type: "SNAPSHOT", object: { adapters: [] } }) },
  { name: "null", text: "null\n" },
])("a sidecar that sends $name is never believed, nor asked in a hot loop", async ({ text }) => {
  let asked = 0;
  onRequest = (_request, reply) => {
    asked++;
    reply.write(text);
  };
  void agent.run(stop.signal);
  await vi.waitFor(() => expect(agent.view.knowledge).toBe("lost"), { timeout: 5_000 });
  expect(agent.view.adapters.size).toBe(0);
  expect(asked).toBeLessThan(100);
});

const LOAD = {
  name: "x",
  artifactUrl: "s3://b/x",
  delivery: { kind: "volume", runtimeDir: "/r", engineDir: "/e" },
  credentials: { a: "b" },
  credentialsHosts: ["a.example"],
  apiKey: "sk",
  owner: "modeladapter/default/x/u-x",
  adopt: false,
  probe: "auto",
  maxLoraRank: 64,
  additionalConfig: { more: "1" },
} as const;
const UNLOAD = { name: "x", apiKey: undefined, owner: "modeladapter/default/x/u-x", cleanup: true, graceSeconds: 30 };

test("a load says everything, and an unload of what is not there is fine", async () => {
  const seen: unknown[] = [];
  onRequest = (request, reply, body) => {
    seen.push([request.url, JSON.parse(body)]);
    reply.writeHead(request.url?.endsWith("unload") === true ? 404 : 202).end("{}");
  };
  await agent.load(LOAD, stop.signal);
  await agent.unload(UNLOAD, stop.signal);
  await agent.unload({ ...UNLOAD, cleanup: false, graceSeconds: 0 }, stop.signal);
  expect(seen).toEqual([
    [
      "/v1/lora_adapter/load",
      {
        lora_name: "x",
        artifact_url: "s3://b/x",
        credentials: { a: "b" },
        credentials_hosts: ["a.example"],
        additional_config: { more: "1", "api-key": "sk" },
        delivery: { mode: "volume", runtime_dir: "/r", engine_dir: "/e" },
        limits: { max_lora_rank: 64 },
        owner: "modeladapter/default/x/u-x",
      },
    ],
    ["/v1/lora_adapter/unload", { lora_name: "x", cleanup_local: true, owner: "modeladapter/default/x/u-x", grace_seconds: 30 }],
    ["/v1/lora_adapter/unload", { lora_name: "x", cleanup_local: false, owner: "modeladapter/default/x/u-x" }],
  ]);
});

test.each([
  {
    status: 400,
    body: { error: { code: "InvalidArtifactURL", message: "m", retryable: false } },
    want: { reason: "InvalidArtifactURL", retryable: false, message: "m" },
  },
  {
    status: 503,
    body: { error: { code: "EngineUnavailable", message: "m", retryable: true } },
    want: { reason: "EngineUnavailable", retryable: true },
  },
  { status: 500, body: {}, want: { reason: "RuntimeUnavailable", retryable: true, message: /HTTP 500/ } },
  { status: 422, body: null, want: { reason: "RuntimeUnavailable", retryable: false } },
])("an answer of HTTP $status is an error of its class", async ({ status: code, body, want }) => {
  onRequest = (_request, reply) => void reply.writeHead(code).end(JSON.stringify(body));
  const error = await agent.load(LOAD, stop.signal).catch((e: unknown) => e);
  const { message, ...rest } = want as { message?: unknown };
  expect(error).toMatchObject(rest);
  if (message !== undefined) expect((error as Error).message).toMatch(message as RegExp);
});

const CHECK = { prompt: "p", max_tokens: 1, expect: { status: 200, not_empty: true, max_latency_ms: 1_000 } } as const;

/** As the runtime answers, of any release. */
function refuseField(reply: ServerResponse, field: string): void {
  const message = `${field}: is not a field of this request; remove it or mend its spelling`;
  reply.writeHead(400).end(JSON.stringify({ error: { code: "InvalidRequest", message, retryable: false } }));
}

test("a sidecar that does not know limits gets the load without them, and is not asked with them again until it is another one", async () => {
  const loads: boolean[] = [];
  let instance = "one";
  onRequest = (request, reply, body) => {
    if (request.method === "GET") {
      streams.push(reply);
      return void reply.write(line(snapshot([], instance)));
    }
    loads.push("limits" in JSON.parse(body));
    if (loads.at(-1) === true) refuseField(reply, "limits");
    else reply.writeHead(202).end("{}");
  };
  const running = agent.run(stop.signal);
  await vi.waitFor(() => expect(agent.view.instance).toBe("one"));
  await agent.load(LOAD, stop.signal);
  await agent.load(LOAD, stop.signal);
  expect(loads).toEqual([true, false, false]);
  instance = "two";
  streams.at(-1)?.end();
  await vi.waitFor(() => expect(agent.view.instance).toBe("two"));
  await agent.load(LOAD, stop.signal);
  expect(loads.slice(3)).toEqual([true, false]);
  stop.abort();
  await running;
});

test("a sidecar of before owners is spared every field that it does not know, one after the other", async () => {
  const sent: string[][] = [];
  onRequest = (_request, reply, body) => {
    const fields = Object.keys(JSON.parse(body) as object);
    sent.push(fields);
    const unknown = fields.find((f) => ["owner", "limits", "adopt", "grace_seconds"].includes(f));
    if (unknown === undefined) reply.writeHead(202).end("{}");
    else refuseField(reply, unknown);
  };
  await agent.load({ ...LOAD, credentialsHosts: undefined, adopt: true }, stop.signal);
  expect(sent.at(-1)).toEqual(["lora_name", "artifact_url", "credentials", "additional_config", "delivery"]);
  await agent.unload(UNLOAD, stop.signal);
  expect(sent.at(-1)).toEqual(["lora_name", "cleanup_local"]);
});

test("names pods that have the content, and spares a sidecar of before that knows none", async () => {
  const sent: unknown[] = [];
  onRequest = (_request, reply, body) => {
    const { peers } = JSON.parse(body) as Record<string, unknown>;
    sent.push(peers);
    if (sent.length % 2 === 1) refuseField(reply, "peers");
    else reply.writeHead(202).end("{}");
  };
  const peers = ["http://10.0.0.1:8080"];
  await agent.load({ ...LOAD, peers }, stop.signal);
  await agent.prepare({ ...LOAD, peers }, stop.signal);
  expect(sent).toEqual([peers, undefined, peers, undefined]);
  await agent.load({ ...LOAD, peers: [] }, stop.signal).catch(() => undefined);
  expect(sent.slice(4)).toEqual([undefined]);
});

test.each([
  { name: "plain content", more: {}, want: {} },
  { name: "content with checks, which ask the engine", more: { checks: [CHECK] }, want: { additional_config: { "api-key": "sk" } } },
  { name: "a proof", more: { proves: true }, want: { prove: true, additional_config: { "api-key": "sk" } } },
])("a prepare of $name has the key where it is used, and not for a sidecar that does not know it", async ({ more, want }) => {
  const sent: object[] = [];
  onRequest = (_request, reply, body) => {
    const { prove, additional_config } = JSON.parse(body) as Record<string, unknown>;
    const tries = { ...(prove === undefined ? {} : { prove }), ...(additional_config === undefined ? {} : { additional_config }) };
    sent.push(tries);
    if ("additional_config" in tries) refuseField(reply, "additional_config");
    else reply.writeHead(202).end("{}");
  };
  await agent.prepare({ ...LOAD, ...more }, stop.signal);
  expect(sent).toEqual("additional_config" in want ? [want, {}] : [want]);
});

const before = (more: object) => ({ own: true, ...more }) as AdapterView;

test.each<{ name: string; given: Partial<AdapterStatus>; before?: AdapterView; inSnapshot?: boolean; want: object }>([
  { name: "a manifest's", given: { origin: "manifest" }, want: { own: false, manifest: true } },
  { name: "of a sidecar that does not tell", given: {}, want: { own: true } },
  { name: "of the ModelAdapter", given: { owner: "modeladapter/default/x/u" }, want: { own: true, owner: "modeladapter/default/x/u" } },
  { name: "of one in another namespace", given: { owner: "modeladapter/other/x/u" }, want: { own: false } },
  { name: "of one of another name", given: { owner: "modeladapter/default/y/u" }, want: { own: false } },
  { name: "somebody else's", given: { owner: "ci" }, want: { own: false, owner: "ci" } },
  { name: "nobody's, there before we looked", given: { owner: null }, inSnapshot: true, want: { own: "unsaid" } },
  { name: "nobody's, that came while we watched", given: { owner: null }, want: { own: false } },
  { name: "nobody's that was there before", given: { owner: null }, before: before({ own: "unsaid" }), want: { own: "unsaid" } },
  { name: "nobody's where ours was", given: { owner: null }, before: before({ owner: "o" }), inSnapshot: true, want: { own: false } },
  {
    name: "nobody's of a sidecar that was upgraded",
    given: { owner: null },
    before: before({}),
    inSnapshot: true,
    want: { own: "unsaid" },
  },
  { name: "nobody's, known as by hand", given: { owner: null }, before: before({ own: false }), inSnapshot: true, want: { own: false } },
])("whose an adapter is: $name", ({ given, before, inSnapshot = false, want }) => {
  expect(ownership(status("x", given), "default", before, inSnapshot)).toMatchObject(want);
});

test("a release asks first whose the adapter is", async () => {
  const seen: unknown[] = [];
  onRequest = (request, reply, body) => {
    if (request.method === "GET")
      return void reply.end(JSON.stringify(snapshot([status("x", { owner: "modeladapter/default/x/u-before" })]).object));
    seen.push(JSON.parse(body));
    reply.writeHead(seen.length === 1 ? 202 : 404).end("{}");
  };
  await agent.release(UNLOAD, stop.signal);
  expect(seen).toEqual([1, 2].map(() => ({ lora_name: "x", cleanup_local: true, owner: "modeladapter/default/x/u-before" })));
});

test("one that cannot keep credentials to their hosts never gets them without these, and is to be upgraded", async () => {
  let loads = 0;
  onRequest = (_request, reply) => {
    loads += 1;
    refuseField(reply, "credentials_hosts");
  };
  await expect(agent.load(LOAD, stop.signal)).rejects.toMatchObject({
    reason: "RuntimeUnavailable",
    retryable: false,
    message: expect.stringContaining("upgrade the image"),
  });
  expect(loads).toBe(1);
});

test("a sidecar that does not answer says so, and names no secret", async () => {
  server.closeAllConnections();
  onRequest = (_request, reply) => void reply.socket?.destroy();
  const error = (await agent.load(LOAD, stop.signal).catch((e: unknown) => e)) as Error;
  expect(error).toMatchObject({ reason: "RuntimeUnavailable", retryable: true });
  expect(error.message).toMatch(/the sidecar aibrix-runtime does not answer .*look into the log/);
  expect(error.message).not.toMatch(/sk/);
});

test("brings the token that the sidecar wants, as it is in the file now; without the file it says what is missing", async () => {
  const dir = await mkdtemp(join(tmpdir(), "token-"));
  try {
    const tokenFile = join(dir, "token");
    const seen: (string | undefined)[] = [];
    onRequest = (request, reply) => {
      seen.push(request.headers.authorization);
      reply.writeHead(202).end("{}");
    };
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const guarded = new SidecarAgent({ url, pod: "default/p", dispatcher, onChange: () => undefined, log: LOG, tokenFile });
    await expect(guarded.unload(UNLOAD, stop.signal)).rejects.toMatchObject({
      message: expect.stringContaining("--runtime-token-file"),
      retryable: true,
    });
    for (const token of ["one", "two"]) {
      await writeFile(tokenFile, `${token}\n`);
      await guarded.unload(UNLOAD, stop.signal);
    }
    expect(seen).toEqual(["Bearer one", "Bearer two"]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

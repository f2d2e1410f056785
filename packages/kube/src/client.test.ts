import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KubeClient, type KubeClientOptions } from "./client.ts";
import { PODS, SERVICES } from "./resource.ts";
import { drop, FakeApiServer, fail, hang } from "./testing/fake-api-server.ts";
import type { Call } from "./transport.ts";

const signal = new AbortController().signal;
let server: FakeApiServer;
let calls: Call[];
let open: KubeClient[];

beforeEach(async () => {
  server = await FakeApiServer.start();
  calls = [];
  open = [];
});
afterEach(async () => {
  await Promise.all(open.map((c) => c.close()));
  await server[Symbol.asyncDispose]();
});

function client(options: Partial<KubeClientOptions> = {}): KubeClient {
  const made = new KubeClient({
    config: server.config({ token: "secret-token" }),
    userAgent: "test",
    fieldManager: "me",
    onCall: (c) => calls.push(c),
    ...options,
  });
  open.push(made);
  return made;
}

const service = { metadata: { namespace: "ns", name: "x" }, spec: { ports: [{ port: 80 }] } };

test("lists page by page, with apiVersion and kind in every item", async () => {
  for (let i = 0; i < 7; i++) server.put(`p${i}`);
  const page = await client().listPage(PODS, { namespace: "ns", limit: 3 }, signal);
  expect(page.items.map((p) => p.metadata.name)).toEqual(["p0", "p1", "p2"]);
  expect(page).toMatchObject({ continueToken: "3", items: [{ apiVersion: "v1", kind: "Pod" }, {}, {}] });
  expect(await client().list(PODS, { namespace: "ns", labelSelector: "a=b" }, signal)).toHaveLength(7);
  expect(server.seen.at(-1)).toMatchObject({ path: "/api/v1/namespaces/ns/pods", headers: { authorization: "Bearer secret-token" } });
  expect(server.seen.at(-1)?.query.get("labelSelector")).toBe("a=b");
});

test("asks for metadata only where that is enough", async () => {
  await client().listPage(PODS, { metadataOnly: true }, signal);
  expect(server.seen.at(-1)?.headers.accept).toContain("as=PartialObjectMetadataList");
});

test("applies under its field manager, forced and strict", async () => {
  await client().apply(SERVICES, service, {}, signal);
  const { method, path, query, headers, body } = server.seen[0] ?? expect.fail();
  expect({ method, path, type: headers["content-type"] }).toEqual({
    method: "PATCH",
    path: "/api/v1/namespaces/ns/services/x",
    type: "application/apply-patch+yaml",
  });
  expect(Object.fromEntries(query)).toEqual({ fieldManager: "me", force: "true", fieldValidation: "Strict" });
  expect(JSON.parse(body)).toMatchObject({ apiVersion: "v1", kind: "Service", spec: service.spec });
  await client().applyStatus(SERVICES, { metadata: service.metadata, status: {} }, { force: false, dryRun: true }, signal);
  expect(server.seen[1]?.path).toBe("/api/v1/namespaces/ns/services/x/status");
  expect(Object.fromEntries(server.seen[1]?.query ?? [])).toMatchObject({ force: "false", dryRun: "All" });
});

test("what is gone already is deleted, and not found is undefined", async () => {
  server.faults.push(fail(404, "NotFound"));
  await client().delete(SERVICES, { namespace: "ns", name: "x" }, { uid: "u1" }, signal);
  expect(JSON.parse(server.seen[0]?.body ?? "")).toMatchObject({ preconditions: { uid: "u1" } });
  expect(await client().find(SERVICES, { namespace: "ns", name: "x" }, signal)).toBeUndefined();
});

test.each([
  { name: "429 without a time", fault: fail(429, "TooManyRequests", { retryAfterS: 0.01 }), sent: 2 },
  { name: "503 with Retry-After", fault: fail(503, "ServiceUnavailable", { retryAfterS: 0.01 }), sent: 2 },
])("comes back after $name, also with a create", async ({ fault, sent }) => {
  server.failNext("other", fault);
  await client().create(SERVICES, service, {}, signal);
  expect(server.count("other")).toBe(sent);
  expect(calls.map((c) => c.verb)).toEqual(["create", "create"]);
});

test("a create that may have been carried out is not sent again", async () => {
  server.failNext("other", fail(500, "InternalError"));
  await expect(client().create(SERVICES, service, {}, signal)).rejects.toMatchObject({ status: 500, retryable: true });
  server.failNext("other", drop);
  await expect(client().create(SERVICES, service, {}, signal)).rejects.toMatchObject({ status: 0, reason: "NoAnswer" });
  expect(server.count("other")).toBe(2);
  expect(calls.map((c) => c.status)).toEqual([500, 0]);
});

test("gives up on a server that always asks to come back, within its deadline", async () => {
  server.faults.push(fail(429, "TooManyRequests", { retryAfterS: 0.01 }));
  await expect(client().list(PODS, {}, signal)).rejects.toMatchObject({ status: 429, retryAfterMs: 10 });
  expect(server.count("list")).toBe(4);
  server.faults.splice(0, 1, fail(429, "TooManyRequests", { retryAfterS: 60 }));
  await expect(client({ timeoutMs: 50 }).list(PODS, {}, signal)).rejects.toMatchObject({ status: 429, retryAfterMs: 60_000 });
  expect(server.count("list")).toBe(5);
});

test("a server that does not answer meets the deadline; an abort ends a call at once", async () => {
  server.faults.push(hang);
  await expect(client({ timeoutMs: 20 }).list(PODS, {}, signal)).rejects.toMatchObject({ status: 0, reason: "Deadline", retryable: true });
  const abort = new AbortController();
  const call = client().list(PODS, {}, abort.signal);
  abort.abort(new Error("enough"));
  await expect(call).rejects.toThrow("enough");
});

test("an answer that is no JSON is an error that names the call", async () => {
  server.faults.push((_seen, answer) => void answer.end("<html>") === undefined);
  await expect(client().list(PODS, {}, signal)).rejects.toMatchObject({
    reason: "Garbage",
    message: expect.stringContaining("GET /api/v1/pods"),
  });
});

test("reads a refused token again from its file, once", async () => {
  const dir = await mkdtemp(join(tmpdir(), "kube-test-"));
  try {
    const tokenFile = join(dir, "token");
    await writeFile(tokenFile, "old\n");
    server.faults.push((seen, answer) => seen.headers.authorization !== "Bearer new" && fail(401, "Unauthorized")(seen, answer));
    const mine = client({ config: server.config({ authProvider: { name: "tokenFile", config: { tokenFile } } }) });
    await expect(mine.list(PODS, {}, signal)).rejects.toMatchObject({ status: 401, retryable: true });
    expect(server.count("list")).toBe(2);
    await writeFile(tokenFile, "new\n");
    expect(await mine.list(PODS, {}, signal)).toEqual([]);
    const watch = mine.watch(PODS, { resourceVersion: "100", timeoutSeconds: 60 }, signal);
    const next = watch.next();
    await expect.poll(() => server.openWatches).toBe(1);
    server.bookmark();
    expect((await next).value).toMatchObject({ type: "BOOKMARK" });
    await watch.return(undefined);
    await expect.poll(() => server.openWatches).toBe(0);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("never says the token", async () => {
  server.faults.push(fail(403, "Forbidden"));
  const error = await client()
    .list(PODS, {}, signal)
    .catch((e: unknown) => e);
  expect(`${error} ${JSON.stringify(error)} ${(error as Error).stack}`).not.toContain("secret-token");
});

test("a bound on the rate holds calls back and loses none", async () => {
  const bounded = client({ rate: { perSecond: 1000, burst: 2 } });
  await Promise.all(Array.from({ length: 20 }, () => bounded.list(PODS, {}, signal)));
  expect(server.count("list")).toBe(20);
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import Fastify, { type FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { testStore } from "../../test/fakes.ts";
import type { ArtifactStore, StoredContent } from "../artifact/store/store.ts";
import { RequestError } from "../errors.ts";
import { contentRoutes, spanOf } from "./contents.ts";

/** More than sockets and streams hold by themselves, so that who takes nothing keeps the giver from its end. */
const LARGE_BYTES = 32 * 2 ** 20;

let dir: string;
let store: ArtifactStore;
let content: StoredContent;
let app: FastifyInstance;
let closing: AbortController;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "contents-"));
  await writeFile(join(dir, "token"), "secret\n");
  store = testStore(join(dir, "store"));
  await store.open();
  const folder = await store.newFolder();
  await writeFile(join(folder, "w"), "0123456789");
  await writeFile(join(folder, "empty"), "");
  await writeFile(join(folder, "large"), Buffer.alloc(LARGE_BYTES));
  const file = (name: string, sizeBytes: number) => ({ name, sizeBytes, sha256: "a".repeat(64) });
  content = await store.install("x", folder, {
    artifact_url: "s3://b/x",
    source_fingerprint: "f",
    fetched_at: "2026-01-01T00:00:00Z",
    files: [file("w", 10), file("empty", 0), file("large", LARGE_BYTES)],
  });
  closing = new AbortController();
  app = start(join(dir, "token"));
});
afterEach(async () => {
  closing.abort();
  await app.close();
  await rm(dir, { recursive: true });
});

function start(tokenFile: string | undefined, idleMs?: number): FastifyInstance {
  // Its close ends no answer that is on its way: what does is our own.
  const server = Fastify({ forceCloseConnections: "idle" });
  server.setErrorHandler((error, _request, reply) =>
    reply.code(error instanceof RequestError ? error.status : 400).send((error as Error).message),
  );
  void server.register(contentRoutes({ contents: store, tokenFile, closing: closing.signal }, idleMs));
  return server;
}

const get = async (path: string, headers: Record<string, string> = {}, token = "Bearer secret") => {
  const answer = await app.inject({ url: `/v1/contents/${path}`, headers: { authorization: token, ...headers } });
  return { status: answer.statusCode, body: answer.body, headers: answer.headers };
};

test("the list is that of the content, and each file is given whole or in part", async () => {
  const list = await get(content.digest);
  expect(list.status).toBe(200);
  expect(JSON.parse(list.body)).toEqual({
    digest: content.digest,
    files: [
      { name: "w", size_bytes: 10, sha256: "a".repeat(64) },
      { name: "empty", size_bytes: 0, sha256: "a".repeat(64) },
      { name: "large", size_bytes: LARGE_BYTES, sha256: "a".repeat(64) },
    ],
  });
  const file = `${content.digest}/files/w`;
  expect(await get(file)).toMatchObject({ status: 200, body: "0123456789", headers: { "content-length": "10", "accept-ranges": "bytes" } });
  expect(await get(file, { range: "bytes=2-4" })).toMatchObject({
    status: 206,
    body: "234",
    headers: { "content-range": "bytes 2-4/10", "content-length": "3" },
  });
  expect(await get(file, { range: "bytes=8-100" })).toMatchObject({
    status: 206,
    body: "89",
    headers: { "content-range": "bytes 8-9/10" },
  });
  expect((await get(file, { range: "bytes=10-11" })).status).toBe(416);
  expect(await get(`${content.digest}/files/empty`)).toMatchObject({ status: 200, body: "" });
});

test.each([undefined, "bytes=1-", "bytes=-3", "bytes=0-1,3-4", "lines=0-1"])("Range %s is passed over", (range) => {
  expect(spanOf(range, 10)).toEqual({ start: 0, end: 10, isPart: false });
});

test("a name leads to nothing but a file of the list", async () => {
  const outside = [".aibrix-manifest.json", "..%2F..%2F..%2Ftoken", "%2Fetc%2Fpasswd", "nothing", "..", "w%00"];
  for (const name of outside) expect((await get(`${content.digest}/files/${name}`)).status, name).toBe(404);
});

test("what is not here, or not whole, is 404; what is no digest 400", async () => {
  expect((await get(`sha256:${"0".repeat(64)}`)).status).toBe(404);
  expect((await get("latest")).status).toBe(400);
  await writeFile(join(content.path, "w"), "0123");
  expect((await get(content.digest)).status).toBe(404);
  expect((await get(`${content.digest}/files/w`)).status).toBe(404);
});

test.each(["Bearer wrong", "", "Basic secret"])("%s is 401", async (token) => {
  for (const path of [content.digest, `${content.digest}/files/w`])
    expect(await get(path, {}, token)).toMatchObject({ status: 401, body: expect.not.stringContaining("0123") });
});

test("without --token-file nobody is given anything, and told why", async () => {
  await app.close();
  app = start(undefined);
  for (const path of [content.digest, `${content.digest}/files/w`, `sha256:${"0".repeat(64)}`])
    expect(await get(path)).toMatchObject({ status: 403, body: expect.stringContaining("--token-file") });
});

async function listen(): Promise<(name: string) => Promise<IncomingMessage>> {
  await app.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const path = `/v1/contents/${content.digest}/files`;
  return (name) =>
    new Promise((resolve, reject) => {
      httpRequest({ host: "127.0.0.1", port, path: `${path}/${name}`, headers: { authorization: "Bearer secret" } }, resolve)
        .once("error", reject)
        .end();
    });
}

/** As many as are given at once, whose bodies nobody reads. */
async function hold(ask: (name: string) => Promise<IncomingMessage>): Promise<readonly IncomingMessage[]> {
  const held = await Promise.all(Array.from({ length: 8 }, () => ask("large")));
  expect(held.map((h) => h.statusCode)).toEqual(held.map(() => 200));
  return held;
}

/** Asks until there is a place. */
async function untilGiven(ask: (name: string) => Promise<IncomingMessage>): Promise<void> {
  const given = async () => {
    const next = await ask("w");
    expect([next.statusCode, await text(next)]).toEqual([200, "0123456789"]);
  };
  await vi.waitFor(given, { timeout: 20_000 });
}

test("who takes nothing keeps no place", async () => {
  await app.close();
  app = start(join(dir, "token"), 1_500);
  const ask = await listen();
  await hold(ask);
  await untilGiven(ask);
});

test("eight are given at once; the ninth asks again, and gets its turn once one has gone", async () => {
  const ask = await listen();
  const held = await hold(ask);
  const ninth = await ask("w");
  expect([ninth.statusCode, ninth.headers["retry-after"]]).toEqual([503, "1"]);
  ninth.resume();
  held[0]?.destroy();
  await untilGiven(ask);
  // The end of the process ends them.
  const ends = held.slice(1).map((h) => new Promise<boolean>((resolve) => h.once("close", () => resolve(h.complete)).resume()));
  closing.abort();
  await app.close();
  expect(await Promise.all(ends)).not.toContain(true);
});

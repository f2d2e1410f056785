import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { contentDigest } from "../store/store.ts";
import { Peers } from "./peer.ts";
import { NoRanges } from "./source.ts";

let dir: string;
let server: Server;
let url: string;
let peers: Peers;
let seen: string[];
let handler: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "peer-"));
  await writeFile(join(dir, "token"), "secret\n");
  seen = [];
  server = createServer((request, response) => {
    const { range = "whole", authorization = "-" } = request.headers;
    seen.push(`${request.url} ${authorization} ${range}`);
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  peers = new Peers(join(dir, "token"));
});
afterEach(async () => {
  await peers.close();
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true });
});

const FILE = { name: "a b?.json", sizeBytes: 10, sha256: "a".repeat(64), etag: "a".repeat(64) };
const DIGEST = contentDigest([FILE]);
const LISTING = { files: [FILE] };
const entry = (of: { name: string; sizeBytes: number; sha256: string }) => ({ name: of.name, size_bytes: of.sizeBytes, sha256: of.sha256 });
const lists = (files: readonly object[]) => (_: IncomingMessage, response: ServerResponse) =>
  response.end(JSON.stringify({ digest: DIGEST, files }));

test("lists the files with their hashes, and reads one whole or in part, with the token of the moment", async () => {
  const source = peers.source(url, DIGEST);
  handler = lists([entry(FILE)]);
  expect(await source.list(NEVER)).toEqual(LISTING);
  handler = (_, response) => response.end("0123456789");
  expect(await text(await source.read(LISTING, FILE, undefined, NEVER))).toBe("0123456789");
  await writeFile(join(dir, "token"), "other");
  handler = (_, response) => response.writeHead(206, { "content-range": "bytes 2-4/10" }).end("234");
  expect(await text(await source.read(LISTING, FILE, { start: 2, end: 5 }, NEVER))).toBe("234");
  expect(seen).toEqual([
    `/v1/contents/${DIGEST} Bearer secret whole`,
    `/v1/contents/${DIGEST}/files/a%20b%3F.json Bearer secret whole`,
    `/v1/contents/${DIGEST}/files/a%20b%3F.json Bearer other bytes=2-4`,
  ]);
});

test.each([
  { name: "another file", files: [entry({ ...FILE, name: "b" })] },
  { name: "another hash", files: [entry({ ...FILE, sha256: "b".repeat(64) })] },
  { name: "another size", files: [entry({ ...FILE, sizeBytes: 11 })] },
  { name: "one file more", files: [entry(FILE), entry({ ...FILE, name: "b" })] },
  { name: "none", files: [] },
  { name: "no list", files: [{}] },
])("a list of $name is not that of the content", async ({ files }) => {
  handler = lists(files);
  await expect(peers.source(url, DIGEST).list(NEVER)).rejects.toMatchObject({ reason: "ArtifactInvalid" });
});

test.each(["../up", "/etc/passwd", ".aibrix-manifest.json", "a\\b"])(
  "a name that could lead elsewhere, %s, is none, though the hash is right",
  async (name) => {
    const file = { ...FILE, name };
    handler = lists([entry(file)]);
    await expect(peers.source(url, contentDigest([file])).list(NEVER)).rejects.toMatchObject({ reason: "ArtifactInvalid" });
  },
);

test.each([
  { status: 404, reason: "ArtifactNotFound", retryable: false, says: "does not have" },
  { status: 401, reason: "ArtifactDenied", retryable: false, says: "same --token-file" },
  { status: 403, reason: "ArtifactDenied", retryable: false, says: "without --token-file" },
  { status: 500, reason: "ArtifactUnavailable", retryable: true, says: "HTTP 500" },
  { status: 307, reason: "ArtifactUnavailable", retryable: false, says: "HTTP 307" },
])("HTTP $status is $reason, and leads nowhere else", async ({ status, reason, retryable, says }) => {
  handler = (_, response) => response.writeHead(status, { location: `${url}/elsewhere` }).end("secret");
  const source = peers.source(url, DIGEST);
  for (const call of [() => source.list(NEVER), () => source.read(LISTING, FILE, undefined, NEVER)]) {
    const error = await call().catch((e: unknown) => e);
    expect(error).toMatchObject({ reason, retryable, message: expect.stringContaining(says) });
    expect((error as Error).message).not.toContain("secret");
  }
  expect(seen).toHaveLength(2);
});

test("one that gives to others already is asked again", async () => {
  let busy = 1;
  handler = (_, response) => {
    if (busy > 0) response.writeHead(503, { "retry-after": "1" }).end();
    else response.end("0123456789");
    busy -= 1;
  };
  expect(await text(await peers.source(url, DIGEST).read(LISTING, FILE, undefined, NEVER))).toBe("0123456789");
});

test("another part than was asked for is none", async () => {
  const source = peers.source(url, DIGEST);
  for (const answer of [
    (response: ServerResponse) => response.end("0123456789"),
    (response: ServerResponse) => response.writeHead(206, { "content-range": "bytes 0-2/10" }).end("012"),
  ]) {
    handler = (_, response) => void answer(response);
    await expect(source.read(LISTING, FILE, { start: 2, end: 5 }, NEVER)).rejects.toBeInstanceOf(NoRanges);
  }
});

test("who is away is told with the cause, and a file without a token is the runtime's own affair", async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  const source = peers.source(url, DIGEST);
  await expect(source.list(NEVER)).rejects.toMatchObject({
    reason: "ArtifactUnavailable",
    retryable: true,
    message: expect.stringContaining("ECONNREFUSED"),
  });
  await writeFile(join(dir, "token"), "\n");
  await expect(source.list(NEVER)).rejects.toMatchObject({
    reason: "ArtifactUnavailable",
    message: expect.stringContaining("mount the Secret"),
  });
});

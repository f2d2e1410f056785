import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readAllowedHosts } from "./allowed.ts";
import { Egress } from "./egress.ts";

/* Whole answers over real sockets: what matters is that no memory is read into again while somebody still needs its bytes. */
const SIZE = 8 * 2 ** 20;
const bodies = [1, 2, 3, 4].map((n) => Buffer.from(Uint32Array.from({ length: SIZE / 4 }, (_, i) => i * 2_654_435_761 * n).buffer));
const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let server: Server;
let egress: Egress;
let url: string;

beforeAll(async () => {
  server = createServer((asked, reply) => {
    const body = bodies[Number(asked.url?.slice(1))] ?? Buffer.from("small");
    reply.writeHead(200, { "content-length": body.length, ...(asked.url === "/last" ? { connection: "close" } : {}) });
    reply.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const allowed = readAllowedHosts("127.0.0.1");
  if ("bad" in allowed) throw new Error("no host");
  egress = new Egress(allowed, {}, 10_000);
});
afterAll(async () => {
  await egress.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** Reads an answer with pauses, hashes each chunk some turns after it came, and only then gives it back. */
async function read(n: number | "last", memories: Set<ArrayBufferLike>): Promise<string> {
  const { body } = await request(`${url}/${n}`, { dispatcher: egress.dispatcher });
  const sum = createHash("sha256");
  const late: Buffer[] = [];
  const take = (chunk: Buffer) => {
    sum.update(chunk);
    egress.recycle(chunk);
  };
  body.on("data", (chunk: Buffer) => {
    memories.add(chunk.buffer);
    late.push(chunk);
    if (late.length <= 2) return;
    body.pause();
    setImmediate(() => {
      take(late.shift() as Buffer);
      body.resume();
    });
  });
  await once(body, "end");
  await new Promise((resolve) => setImmediate(resolve));
  late.forEach(take);
  return sum.digest("hex");
}

test("answers that are read at once come whole, into memory that is used again", async () => {
  const memories = new Set<ArrayBufferLike>();
  for (let round = 0; round < 2; round += 1)
    expect(await Promise.all(bodies.map((_, n) => read(n, memories)))).toEqual(bodies.map((body) => hash(body)));
  // Each memory is of 512 KiB, and 64 MiB came.
  expect(memories.size).toBeLessThan(64);
});

test("a connection that the server closes gives its memory back", async () => {
  const memories = new Set<ArrayBufferLike>();
  for (let i = 0; i < 30; i += 1) await read("last", memories);
  expect(memories.size).toBeLessThan(10);
});

test("what is kept stays as it came, whatever is read after it", async () => {
  const { body } = await request(`${url}/small`, { dispatcher: egress.dispatcher });
  const kept: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) kept.push(chunk);
  await Promise.all(bodies.map((_, n) => read(n, new Set())));
  expect(Buffer.concat(kept).toString()).toBe("small");
});

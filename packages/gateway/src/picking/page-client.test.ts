import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { afterEach, expect, test } from "vitest";
import { PageClient } from "./page-client.ts";

const PAGE = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
const servers: Server[] = [];
const sockets: Socket[] = [];
const clients: PageClient[] = [];

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A server, whose connections count from 1, and a client of it. */
async function pair(onRequest: (socket: Socket, connection: number, request: string) => void, host = "127.0.0.1", timeoutMs = 10_000) {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    const connection = connections;
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => onRequest(socket, connection, bytes.toString()));
  });
  servers.push(server);
  server.listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = new PageClient(`${host.includes(":") ? `[${host}]` : host}:${port}`, { path: "/metrics", timeoutMs, maxBytes: 100 });
  clients.push(client);
  return { client, port, connections: () => connections, text: () => client.get(({ status, body }) => `${status} ${body}`) };
}

const LOOPBACKS = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).flatMap((i) => (i.internal ? [i.address] : [])));

test.each(["127.0.0.1", "::1"].filter((host) => LOOPBACKS.includes(host)))("pages of %s come over one connection", async (host) => {
  let asked = "";
  const { text, connections, port } = await pair((socket, _, request) => {
    asked = request;
    socket.write(`${PAGE}ok`);
  }, host);
  for (let i = 0; i < 3; i += 1) expect(await text()).toBe("200 ok");
  expect(connections()).toBe(1);
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  expect(asked).toBe(`GET /metrics HTTP/1.1\r\nhost: ${authority}\r\naccept: text/plain\r\n\r\n`);
});

test("a connection that was ended between two pages is opened again, also where the end meets the question", async () => {
  const { text, connections } = await pair((socket, connection) => {
    if (connection === 2 && socket.bytesWritten > 0) socket.destroy();
    else if (connection === 1) socket.end(`${PAGE}ok`);
    else socket.write(`${PAGE}ok`);
  });
  for (let i = 0; i < 3; i += 1) expect(await text()).toBe("200 ok");
  expect(connections()).toBe(3);
});

test("an end that never answers, or in the middle of an answer, is told and not asked again", async () => {
  const silent = await pair((socket) => socket.end());
  await expect(silent.text()).rejects.toThrow("ended the connection");
  const cut = await pair((socket) => {
    if (socket.bytesWritten === 0) socket.write(`${PAGE}ok`);
    else socket.end(`${PAGE}o`);
  });
  expect(await cut.text()).toBe("200 ok");
  await expect(cut.text()).rejects.toThrow("ended the connection");
  expect([silent.connections(), cut.connections()]).toEqual([1, 1]);
});

test("after what cannot be read, and after what comes unasked, a new connection is opened", async () => {
  const { text, connections } = await pair((socket, connection) => {
    socket.write(["SSH-2.0\r\n\r\n", `${PAGE}okHTTP/1.1 408 Too Late\r\n\r\n`][connection - 1] ?? `${PAGE}ok`);
  });
  await expect(text()).rejects.toThrow("HTTP/1.1");
  for (let i = 0; i < 2; i += 1) expect(await text()).toBe("200 ok");
  expect(connections()).toBe(3);
});

test("a page has its time, and one that is waited for ends with the client", async () => {
  const late = await pair(() => undefined, "127.0.0.1", 20);
  await expect(late.text()).rejects.toThrow("within 20 ms");
  const { client, text, connections } = await pair(() => client.close());
  await expect(text()).rejects.toThrow("closed");
  await expect(text()).rejects.toThrow("not asked any more");
  expect(connections()).toBe(1);
});

test("what is made of a page may fail, and does not end the connection", async () => {
  const { client, text, connections } = await pair((socket) => socket.write(`${PAGE}ok`));
  await expect(
    client.get(() => {
      throw new Error("no page");
    }),
  ).rejects.toThrow("no page");
  expect(await text()).toBe("200 ok");
  expect(connections()).toBe(1);
});

test("where nobody listens that is told", async () => {
  const { text } = await pair(() => undefined);
  servers.at(-1)?.close();
  await expect(text()).rejects.toThrow("ECONNREFUSED");
});

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, BlockList } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { Egress } from "../../egress/egress.ts";
import { authorizationOf, HttpSource } from "./http.ts";
import { NoRanges } from "./source.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let servers: Server[];
let egress: Egress;
let seen: string[];
beforeEach(() => {
  servers = [];
  seen = [];
  egress = new Egress({ hosts: ["127.0.0.1"], networks: new BlockList() }, {}, 2_000);
});
afterEach(async () => {
  await egress.close();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(name: string, handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    seen.push(`${name} ${request.method} ${request.url} ${request.headers.authorization ?? "-"}`);
    handler(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function source(origin: string, keys: Record<string, string> = {}, hosts?: readonly string[]) {
  return new HttpSource({ url: `${origin}/a.tar.gz`, archive: "tar.gz" }, { keys, hosts }, egress);
}

const TOKEN = { http_bearer_token: "secret-token" };
const LISTED = { name: "artifact.tar.gz", sizeBytes: 4, etag: '"v1"' };
const LISTING = { files: [LISTED], archive: "tar.gz" } as const;

test("lists the one file, with what changes when it does", async () => {
  const origin = await serve("web", (_, response) =>
    response.writeHead(200, { "content-length": 4, etag: '"v1"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT" }).end(),
  );
  expect(await source(origin).list(NEVER)).toEqual(LISTING);
});

test.each([
  {
    name: "a weak ETag counts less than a time",
    headers: { etag: 'W/"v1"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT" },
    want: "Thu, 01 Jan 2026 00:00:00 GMT",
  },
  { name: "a weak ETag counts more than nothing", headers: { etag: 'W/"v1"' }, want: 'W/"v1"' },
  { name: "nothing is nothing", headers: {}, want: "" },
])("$name", async ({ headers, want }) => {
  const origin = await serve("web", (_, response) => response.writeHead(200, { "content-length": 4, ...headers }).end());
  const [file] = (await source(origin).list(NEVER)).files;
  expect(file).toMatchObject({ etag: want });
  expect(file?.asWhole === true).toBe(want === "" || want.startsWith("W/"));
});

test("a server that answers to GET only is asked so", async () => {
  const origin = await serve("web", (request, response) =>
    request.method === "HEAD" ? response.writeHead(405).end() : response.writeHead(200, { "content-length": 4, etag: '"v1"' }).end("data"),
  );
  expect(await source(origin).list(NEVER)).toEqual(LISTING);
});

test("a server that tells no length is told what to do", async () => {
  const origin = await serve("web", (_, response) => response.writeHead(200, { "transfer-encoding": "chunked" }).end());
  await expect(source(origin).list(NEVER)).rejects.toMatchObject({ retryable: false, message: expect.stringContaining("Content-Length") });
});

test("credentials go to the host that the Secret names, and to no host of a redirect", async () => {
  const store = await serve("store", (_, response) => response.writeHead(200, { etag: '"v1"' }).end("data"));
  const origin = await serve("web", (_, response) => response.writeHead(302, { location: `${store}/x` }).end());
  const body = await source(origin, TOKEN, ["127.0.0.1"]).read(LISTING, LISTED, undefined, NEVER);
  expect(await text(body)).toBe("data");
  expect(seen).toEqual(["web GET /a.tar.gz Bearer secret-token", "store GET /x -"]);
});

test.each([{ hosts: undefined }, { hosts: [] }, { hosts: ["files.example.com"] }])(
  "credentials are kept from a host that the Secret does not name: $hosts",
  async ({ hosts }) => {
    const origin = await serve("web", (_, response) => response.end("data"));
    const make = () => source(origin, TOKEN, hosts);
    expect(make).toThrow(
      expect.objectContaining({ reason: "ArtifactNotAllowed", message: expect.stringContaining("model.aibrix.ai/allowed-hosts") }),
    );
    expect(make).not.toThrow(/secret-token/);
    expect(seen).toEqual([]);
  },
);

test("credentials of another kind of storage are not sent, and need no leave", async () => {
  const origin = await serve("web", (_, response) => response.writeHead(200, { etag: '"v1"' }).end("data"));
  await source(origin, { huggingface_token: "hf_x", aws_access_key_id: "id" }).read(LISTING, LISTED, undefined, NEVER);
  expect(seen).toEqual(["web GET /a.tar.gz -"]);
});

test.each([
  { keys: { http_username: "me", http_password: "pw:1" }, want: "Basic bWU6cHc6MQ==" },
  { keys: { http_bearer_token: "t\n" }, want: "Bearer t" },
  { keys: {}, want: undefined },
])("the header is $want", ({ keys, want }) => {
  expect(authorizationOf({ keys })).toBe(want);
});

test.each([
  { keys: { http_username: "me" }, says: "write both" },
  { keys: { http_bearer_token: "t", http_username: "me", http_password: "p" }, says: "keep one kind" },
  { keys: { http_username: "m:e", http_password: "p" }, says: "colon" },
  { keys: { http_bearer_token: "a\r\nb" }, says: "no token has" },
])("a Secret that cannot be used: $says", ({ keys, says }) => {
  expect(() => authorizationOf({ keys })).toThrow(
    expect.objectContaining({ reason: "ArtifactDenied", message: expect.stringContaining(says) }),
  );
});

test.each([
  { status: 404, reason: "ArtifactNotFound", retryable: false, says: "does not exist" },
  { status: 410, reason: "ArtifactNotFound", retryable: false, says: "does not exist" },
  { status: 401, reason: "ArtifactDenied", retryable: false, says: "set credentialsSecretRef" },
  { status: 403, reason: "ArtifactDenied", retryable: false, says: "http_bearer_token" },
  { status: 500, reason: "ArtifactUnavailable", retryable: true, says: "HTTP 500" },
  { status: 429, reason: "ArtifactUnavailable", retryable: true, says: "HTTP 429" },
  { status: 400, reason: "ArtifactUnavailable", retryable: false, says: "HTTP 400" },
])("HTTP $status is told as $reason", async ({ status, reason, retryable, says }) => {
  const origin = await serve("web", (_, response) => response.writeHead(status).end());
  const want = { reason, retryable, message: expect.stringContaining(says) };
  await expect(source(origin).list(NEVER)).rejects.toMatchObject(want);
  await expect(source(origin).read(LISTING, LISTED, undefined, NEVER)).rejects.toMatchObject(want);
});

test("a part is asked for on the condition that the file is the one that was listed", async () => {
  const origin = await serve("web", (request, response) => {
    seen.push(`${request.headers.range} ${request.headers["if-match"]}`);
    response.writeHead(206, { "content-range": "bytes 1-2/4", etag: '"v1"' }).end("at");
  });
  expect(await text(await source(origin).read(LISTING, LISTED, { start: 1, end: 3 }, NEVER))).toBe("at");
  expect(seen).toContain('bytes=1-2 "v1"');
});

test.each([{ etag: "" }, { etag: 'W/"v1"' }])(
  "where nothing ties two parts to one content (ETag: $etag), none is asked for",
  async ({ etag }) => {
    const file = { ...LISTED, etag, asWhole: true };
    let status = 200;
    const origin = await serve("web", ({ headers: { range = "all" } }, response) => {
      seen.push(range);
      response.writeHead(status, etag === "" ? {} : { etag }).end("data");
    });
    await expect(source(origin).read(LISTING, file, { start: 1, end: 3 }, NEVER)).rejects.toBeInstanceOf(NoRanges);
    expect(seen).toContain("all");
    expect(await text(await source(origin).read(LISTING, file, undefined, NEVER))).toBe("data");
    // Whether it may be read at all is still found out.
    status = 401;
    await expect(source(origin).read(LISTING, file, { start: 0, end: 1 }, NEVER)).rejects.toMatchObject({ reason: "ArtifactDenied" });
  },
);

test.each([
  { name: "the whole", status: 200, headers: { etag: '"v1"' }, range: { start: 1, end: 3 }, says: "ignored a Range header" },
  {
    name: "another part",
    status: 206,
    headers: { etag: '"v1"', "content-range": "bytes 0-1/4" },
    range: { start: 1, end: 3 },
    says: "does not give parts",
  },
  {
    name: "a part of another file",
    status: 206,
    headers: { etag: '"v2"', "content-range": "bytes 1-2/4" },
    range: { start: 1, end: 3 },
    says: "changed while it was read",
  },
  { name: "another file", status: 200, headers: { etag: '"v2"' }, range: undefined, says: "changed while it was read" },
  { name: "a refused condition", status: 412, headers: {}, range: undefined, says: "changed while it was read" },
  { name: "a part unasked", status: 206, headers: { etag: '"v1"' }, range: undefined, says: "where the whole was asked for" },
])("$name is not taken for what was asked for", async ({ status, headers, range, says }) => {
  const origin = await serve("web", (_, response) => response.writeHead(status, headers).end("at"));
  await expect(source(origin).read(LISTING, LISTED, range, NEVER)).rejects.toMatchObject({
    reason: "ArtifactUnavailable",
    message: expect.stringContaining(says),
  });
});

test("a redirect to what is no web address is not followed", async () => {
  const origin = await serve("web", (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end());
  await expect(source(origin).list(NEVER)).rejects.toMatchObject({ retryable: false, message: expect.stringContaining("no http address") });
});

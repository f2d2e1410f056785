import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, BlockList } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { Egress } from "../../egress/egress.ts";
import { HuggingFaceSource } from "./huggingface.ts";

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
    seen.push(`${name} ${request.url} ${request.headers.authorization ?? "-"}`);
    handler(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Given {
  readonly revision?: string;
  readonly path?: string;
  readonly token?: string;
  readonly hosts?: readonly string[];
  readonly envToken?: string;
}

function source(endpoint: string, { revision, path = "", token, hosts, envToken }: Given = {}) {
  const env = { HF_ENDPOINT: `${endpoint}/`, ...(envToken === undefined ? {} : { HF_TOKEN: envToken }) };
  const keys: Record<string, string> = token === undefined ? {} : { huggingface_token: token };
  return new HuggingFaceSource({ repo: "org/repo", revision, path }, { keys, hosts }, env, egress);
}

const FILE = { name: "adapter_model.safetensors", sizeBytes: 4, etag: "x" };

test("lists a revision: its commit, and the files at its top with what the Hub says of them", async () => {
  const pages: Record<string, { body: unknown; link?: string }> = {
    "/api/models/org/repo/revision/v1%2Fx": { body: { sha: "c0ffee" } },
    "/api/models/org/repo/tree/c0ffee": {
      body: [
        { type: "directory", path: "checkpoint-1", size: 0 },
        { type: "file", path: "adapter_config.json", size: 7, oid: "git1" },
      ],
      link: '</api/models/org/repo/tree/c0ffee?cursor=2>; rel="next"',
    },
    "/api/models/org/repo/tree/c0ffee?cursor=2": {
      body: [{ type: "file", path: "w.safetensors", size: 130, oid: "git2", lfs: { oid: "abcd", size: 4000 } }],
    },
  };
  const endpoint = await serve("hub", (request, response) => {
    const page = pages[request.url ?? ""];
    response.writeHead(page === undefined ? 404 : 200, page?.link === undefined ? {} : { link: page.link });
    response.end(JSON.stringify(page?.body));
  });
  expect(await source(endpoint, { revision: "v1/x" }).list(NEVER)).toEqual({
    revision: "c0ffee",
    files: [
      { name: "adapter_config.json", sizeBytes: 7, etag: "git1" },
      { name: "w.safetensors", sizeBytes: 4000, etag: "abcd", sha256: "abcd" },
    ],
  });
});

test("lists a folder of a repository, and reads from it", async () => {
  const pages: Record<string, unknown> = {
    "/api/models/org/repo/revision/main": { sha: "c0ffee" },
    "/api/models/org/repo/tree/c0ffee/many/a%20b": [
      { type: "file", path: "many/a b/adapter_config.json", size: 7, oid: "git1" },
      { type: "directory", path: "many/a b/checkpoint-1", size: 0 },
      { type: "file", path: "elsewhere/x.json", size: 7, oid: "git2" },
    ],
    "/org/repo/resolve/c0ffee/many/a%20b/adapter_config.json": { r: 8 },
  };
  const endpoint = await serve("hub", (request, response) => {
    const page = pages[request.url ?? ""];
    response.writeHead(page === undefined ? 404 : 200).end(JSON.stringify(page));
  });
  const hub = source(endpoint, { path: "many/a b" });
  const listing = await hub.list(NEVER);
  expect(listing).toEqual({ revision: "c0ffee", files: [{ name: "adapter_config.json", sizeBytes: 7, etag: "git1" }] });
  const [file] = listing.files;
  if (file === undefined) throw new Error("nothing was listed");
  expect(await text(await hub.read(listing, file, undefined, NEVER))).toBe('{"r":8}');
});

test("a folder that is not there is told by its name", async () => {
  const endpoint = await serve("hub", (request, response) =>
    (request.url ?? "").includes("tree")
      ? response.writeHead(404, { "x-error-code": "EntryNotFound" }).end("{}")
      : response.end('{"sha":"c0ffee"}'),
  );
  await expect(source(endpoint, { path: "none" }).list(NEVER)).rejects.toMatchObject({
    reason: "ArtifactNotFound",
    message: expect.stringContaining('has no folder "none"'),
  });
});

test("a Secret that names other hosts never goes to the Hub; one that names it does, and the runtime's own token needs no leave", async () => {
  const endpoint = await serve("hub", (_, response) => response.end("data"));
  const { host } = new URL(endpoint);
  expect(() => source(endpoint, { token: "own", hosts: ["hub.example.com"] })).toThrow(
    expect.objectContaining({ reason: "ArtifactNotAllowed", message: expect.stringContaining("model.aibrix.ai/allowed-hosts") }),
  );
  await source(endpoint, { token: "own", hosts: [host] }).read({ revision: "c", files: [] }, FILE, undefined, NEVER);
  await source(endpoint, { envToken: "env", hosts: [] }).read({ revision: "c", files: [] }, FILE, undefined, NEVER);
  expect(seen.map((line) => line.split(" ").at(-1))).toEqual(["own", "env"]);
});

test("a redirect to a guarded address is not followed", async () => {
  const endpoint = await serve("hub", (_, response) =>
    response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data" }).end(),
  );
  await expect(source(endpoint).read({ files: [] }, FILE, undefined, NEVER)).rejects.toMatchObject({
    reason: "ArtifactNotAllowed",
    retryable: false,
    message: expect.stringContaining("169.254.169.254"),
  });
});

test("the token goes to the endpoint, and to no other host", async () => {
  const store = await serve("store", (_, response) => response.end("data"));
  const endpoint = await serve("hub", (request, response) =>
    request.url === "/moved"
      ? response.writeHead(302, { location: `${store}/blob` }).end()
      : response.writeHead(307, { location: "/moved" }).end(),
  );
  expect(await text(await source(endpoint, { token: "hf_secret" }).read({ revision: "c", files: [] }, FILE, undefined, NEVER))).toBe(
    "data",
  );
  expect(seen).toEqual([
    "hub /org/repo/resolve/c/adapter_model.safetensors Bearer hf_secret",
    "hub /moved Bearer hf_secret",
    "store /blob -",
  ]);
});

test.each([
  { name: "the adapter's own", options: { token: "own", envToken: "env" }, want: "Bearer own" },
  { name: "HF_TOKEN", options: { envToken: "env" }, want: "Bearer env" },
  { name: "none", options: {}, want: "-" },
])("the token is $name", async ({ options, want }) => {
  const endpoint = await serve("hub", (_, response) => response.end("data"));
  await source(endpoint, options).read({ revision: "c", files: [] }, FILE, undefined, NEVER);
  expect(seen[0]).toMatch(new RegExp(`${want}$`));
});

test("redirects without end are an error", async () => {
  const endpoint = await serve("hub", (_, response) => response.writeHead(302, { location: "/again" }).end());
  await expect(source(endpoint).read({ files: [] }, FILE, undefined, NEVER)).rejects.toMatchObject({ reason: "ArtifactUnavailable" });
});

test.each([
  {
    status: 404,
    code: "RepoNotFound",
    token: undefined,
    reason: "ArtifactNotFound",
    says: ["huggingface://org/repo does not exist", "give a token"],
  },
  { status: 401, code: "RepoNotFound", token: undefined, reason: "ArtifactNotFound", says: ["or is private"] },
  { status: 404, code: "RepoNotFound", token: "t", reason: "ArtifactNotFound", says: ["whether the token may read it"] },
  { status: 404, code: "RevisionNotFound", token: undefined, reason: "ArtifactNotFound", says: ['no revision "main"'] },
  { status: 404, code: undefined, token: undefined, reason: "ArtifactNotFound", says: ["check its spelling"] },
  { status: 401, code: "GatedRepo", token: undefined, reason: "ArtifactDenied", says: ["gated", "credentialsSecretRef", "HF_TOKEN"] },
  { status: 403, code: undefined, token: "t", reason: "ArtifactDenied", says: ["gated"] },
  { status: 401, code: undefined, token: undefined, reason: "ArtifactDenied", says: ["wants a token"] },
  { status: 401, code: undefined, token: "hf_secret", reason: "ArtifactDenied", says: ["refused the token"] },
  { status: 429, code: undefined, token: undefined, reason: "ArtifactUnavailable", retryable: true, says: ["HTTP 429"] },
  { status: 503, code: undefined, token: undefined, reason: "ArtifactUnavailable", retryable: true, says: ["HTTP 503"] },
  { status: 400, code: undefined, token: undefined, reason: "ArtifactUnavailable", says: ["HTTP 400"] },
])("HTTP $status $code is told as $reason", async ({ status, code, token, reason, retryable = false, says }) => {
  const endpoint = await serve("hub", (_, response) =>
    response.writeHead(status, code === undefined ? {} : { "x-error-code": code }).end("{}"),
  );
  const error = await source(endpoint, token === undefined ? {} : { token })
    .list(NEVER)
    .catch((e: unknown) => e);
  expect(error).toMatchObject({ reason, retryable });
  for (const part of says) expect((error as Error).message).toContain(part);
  expect((error as Error).message).not.toContain("hf_secret");
});

test("a Hub that nobody serves is told with its address", async () => {
  const endpoint = await serve("hub", (_, response) => response.end());
  servers[0]?.close();
  await expect(source(endpoint).list(NEVER)).rejects.toMatchObject({
    reason: "ArtifactUnavailable",
    retryable: true,
    message: expect.stringContaining(endpoint),
  });
});

test.each(["<html>", '"text"', "{}"])("an endpoint that is no Hub is told: %s", async (body) => {
  const endpoint = await serve("hub", (_, response) => response.end(body));
  await expect(source(endpoint).list(NEVER)).rejects.toMatchObject({ message: expect.stringContaining("check HF_ENDPOINT") });
});

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HubCall } from "./app.ts";
import { type Hub, startHub } from "./hub.ts";
import { parseRange } from "./range.ts";

const WEIGHTS = "weights of the adapter";
const WEIGHTS_SHA256 = createHash("sha256").update(WEIGHTS).digest("hex");

let root: string;
let hub: Hub;
let calls: HubCall[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hub-"));
  await put("org/one/adapter_config.json", "{}");
  await put("org/one/adapter_model.safetensors", WEIGHTS);
  await put("org/one/docs/deep/notes.md", "hello");
  await put("org/one@v2/adapter_config.json", '{"r":2}');
  calls = [];
  hub = await startHub({ root, token: "hf_right", treePageSize: 3, onCall: (call) => calls.push(call) });
});

afterEach(async () => {
  await hub.close();
  await rm(root, { recursive: true, force: true });
});

async function put(path: string, content: string): Promise<void> {
  await mkdir(join(root, path, ".."), { recursive: true });
  await writeFile(join(root, path), content);
}

function call(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${hub.url}${path}`, { redirect: "manual", ...init });
}

interface Entry {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  readonly oid: string;
  readonly lfs?: { readonly oid: string; readonly size: number };
  readonly lastCommit?: { readonly id: string };
}

// biome-ignore lint/suspicious/noExplicitAny: an answer's fields are what the tests look at
async function json(path: string, init: RequestInit = {}): Promise<any> {
  const response = await call(path, init);
  expect(response.status).toBe(200);
  return response.json();
}

async function tree(path: string): Promise<readonly Entry[]> {
  return json(path);
}

describe("model info", () => {
  test("names the commit and the files", async () => {
    const info = await json("/api/models/org/one");
    expect(info).toMatchObject({ id: "org/one", sha: expect.stringMatching(/^[0-9a-f]{40}$/), private: false, gated: false });
    expect(info.siblings.map((sibling: { rfilename: string }) => sibling.rfilename)).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "docs/deep/notes.md",
    ]);
    expect(await json(`/api/models/org/one/revision/${info.sha}`)).toEqual(info);
  });

  test("blobs=true adds sizes and digests", async () => {
    const { siblings } = await json("/api/models/org/one?blobs=true");
    expect(siblings[1]).toMatchObject({ size: WEIGHTS.length, lfs: { sha256: WEIGHTS_SHA256 } });
  });

  test("a changed file is another commit at once, and the old one is gone", async () => {
    const before = await json("/api/models/org/one");
    await put("org/one/adapter_model.safetensors", WEIGHTS.toUpperCase());
    const after = await json("/api/models/org/one");
    expect(after.sha).not.toBe(before.sha);
    expect((await call(`/api/models/org/one/revision/${before.sha}`)).headers.get("x-error-code")).toBe("RevisionNotFound");
  });

  test("a folder name@revision is that revision, also by its commit", async () => {
    const tagged = await json("/api/models/org/one/revision/v2");
    expect(tagged.siblings).toEqual([{ rfilename: "adapter_config.json" }]);
    expect(await json(`/api/models/org/one/revision/${tagged.sha}`)).toEqual(tagged);
  });
});

describe("tree", () => {
  test("one level shows folders, recursive=true all files", async () => {
    const top = await tree("/api/models/org/one/tree/main");
    expect(top.map((entry) => `${entry.type} ${entry.path}`)).toEqual([
      "directory docs",
      "file adapter_config.json",
      "file adapter_model.safetensors",
    ]);
    const below = await tree("/api/models/org/one/tree/main/docs?recursive=true");
    expect(below.map((entry) => entry.path)).toEqual(["docs/deep", "docs/deep/notes.md"]);
    expect((await call("/api/models/org/one/tree/main/nothing")).headers.get("x-error-code")).toBe("EntryNotFound");
  });

  test("pages are followed by the Link header", async () => {
    const first = await call("/api/models/org/one/tree/main?recursive=true&expand=true");
    const next = /^<(.+)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1] ?? "";
    const second = await fetch(next);
    const entries = [...((await first.json()) as Entry[]), ...((await second.json()) as Entry[])];
    expect(entries.map((entry) => entry.path)).toEqual([
      "docs",
      "docs/deep",
      "adapter_config.json",
      "adapter_model.safetensors",
      "docs/deep/notes.md",
    ]);
    expect(second.headers.get("link")).toBeNull();
    expect(entries.every((entry) => entry.lastCommit?.id !== undefined)).toBe(true);
  });

  test("large files carry their sha256, others Git's object id", async () => {
    const entries = await tree("/api/models/org/one/tree/main");
    expect(entries[2]).toMatchObject({ lfs: { oid: WEIGHTS_SHA256, size: WEIGHTS.length }, size: WEIGHTS.length });
    // git hash-object of a file that holds {}
    expect(entries[1]).toMatchObject({ oid: "9e26dfeeb6e641a33dae4961196235bdb965b21b", size: 2 });
    expect(entries[1]?.lfs).toBeUndefined();
  });

  test.each([
    ["application/json", JSON.stringify({ paths: ["adapter_model.safetensors", "nothing"], expand: false })],
    ["application/x-www-form-urlencoded", "paths=adapter_model.safetensors&paths=nothing&expand=false"],
  ])("paths-info as %s answers for the files that exist", async (type, body) => {
    const answer = await json("/api/models/org/one/paths-info/main", { method: "POST", headers: { "content-type": type }, body });
    expect(answer).toEqual([expect.objectContaining({ path: "adapter_model.safetensors", size: WEIGHTS.length })]);
  });
});

describe("files", () => {
  test("a small file comes with its commit and digest; HEAD gives the headers alone", async () => {
    const { sha } = await json("/api/models/org/one");
    for (const method of ["GET", "HEAD"]) {
      const response = await call("/org/one/resolve/main/adapter_config.json", { method });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "x-repo-commit": sha,
        etag: '"9e26dfeeb6e641a33dae4961196235bdb965b21b"',
        "content-length": "2",
        "accept-ranges": "bytes",
      });
      expect(await response.text()).toBe(method === "GET" ? "{}" : "");
    }
  });

  test("a large file comes by a redirect that tells size and sha256 before", async () => {
    const response = await call("/org/one/resolve/main/adapter_model.safetensors", { method: "HEAD" });
    expect(response.status).toBe(302);
    expect(response.headers.get("x-linked-etag")).toBe(`"${WEIGHTS_SHA256}"`);
    expect(response.headers.get("x-linked-size")).toBe(String(WEIGHTS.length));
    expect(await (await fetch(response.headers.get("location") ?? "")).text()).toBe(WEIGHTS);
  });

  test("a link to storage ends with the content that it was made for", async () => {
    const link = (await call("/org/one/resolve/main/adapter_model.safetensors")).headers.get("location") ?? "";
    await put("org/one/adapter_model.safetensors", "other weights");
    expect((await fetch(link)).status).toBe(404);
  });

  test("ranges", async () => {
    const url = `${hub.url}/org/one/resolve/main/adapter_model.safetensors`;
    const part = await fetch(url, { headers: { range: "bytes=8-9" } });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe(`bytes 8-9/${WEIGHTS.length}`);
    expect(await part.text()).toBe("of");
    const outside = await fetch(url, { headers: { range: "bytes=100-" } });
    expect(outside.status).toBe(416);
    expect(outside.headers.get("content-range")).toBe(`bytes */${WEIGHTS.length}`);
  });

  test("an empty file", async () => {
    await put("org/one/empty.txt", "");
    const response = await call("/org/one/resolve/main/empty.txt");
    expect(response.headers.get("content-length")).toBe("0");
    expect(await response.text()).toBe("");
  });

  test.each([
    ["a repository that is not there", "/org/none/resolve/main/x", "RepoNotFound", "Repository not found"],
    ["a revision that is not there", "/org/one/resolve/v9/x", "RevisionNotFound", "Invalid rev id: v9"],
    ["a file that is not there", "/org/one/resolve/main/x/y", "EntryNotFound", 'x/y does not exist on "main"'],
    ["a path out of the repository", "/org/one/resolve/main/..%2f..%2fsecret", "EntryNotFound", '../../secret does not exist on "main"'],
    ["a name that leads to another folder", "/api/models/org/..%2forg%2fone", "RepoNotFound", "Repository not found"],
  ])("%s is told by code and words", async (_, path, code, message) => {
    const response = await call(path);
    expect(response.status).toBe(404);
    expect(response.headers.get("x-error-code")).toBe(code);
    expect(response.headers.get("x-error-message")).toBe(message);
    expect(await response.json()).toEqual({ error: message });
  });
});

describe("gated repositories", () => {
  const config = "/org/one/resolve/main/adapter_config.json";
  beforeEach(() => put("org/one/.gated", ""));

  test("are listed, without their marker", async () => {
    const info = await json("/api/models/org/one");
    expect(info.gated).toBe("manual");
    expect(info.siblings).toHaveLength(3);
  });

  test("give files to the right token alone, and never write it down", async () => {
    const none = await call(config);
    expect([none.status, none.headers.get("x-error-code")]).toEqual([401, "GatedRepo"]);
    const wrong = await call(config, { headers: { authorization: "Bearer hf_wrong" } });
    expect([wrong.status, wrong.headers.get("x-error-message")]).toEqual([401, "Invalid credentials in Authorization header"]);
    const right = await call(config, { headers: { authorization: "Bearer hf_right" } });
    expect(right.status).toBe(200);
    expect(calls.map((seen) => [seen.status, seen.authorized])).toEqual([
      [401, false],
      [401, true],
      [200, true],
    ]);
    expect(JSON.stringify(calls)).not.toContain("hf_");
  });

  test("a Hub without a token lets nobody in", async () => {
    const closed = await startHub({ root });
    try {
      expect((await fetch(`${closed.url}${config}`, { headers: { authorization: "Bearer undefined" } })).status).toBe(401);
    } finally {
      await closed.close();
    }
  });
});

test.each([
  [undefined, undefined],
  ["bytes=0-0", { start: 0, end: 0 }],
  ["bytes=4-", { start: 4, end: 9 }],
  ["bytes=4-100", { start: 4, end: 9 }],
  ["bytes=-3", { start: 7, end: 9 }],
  ["bytes=-30", { start: 0, end: 9 }],
  ["bytes=-0", "unsatisfiable"],
  ["bytes=10-", "unsatisfiable"],
  ["bytes=5-4", undefined],
  ["bytes=0-1,4-5", undefined],
  ["items=0-1", undefined],
])("range %s of 10 bytes", (header, expected) => {
  expect(parseRange(header, 10)).toEqual(expected);
});

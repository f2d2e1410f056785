import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import {
  entryNotFound,
  fileEntry,
  gatedRepo,
  type HubError,
  modelInfo,
  REPO_NOT_FOUND,
  revisionNotFound,
  STORED_OBJECT_GONE,
  treeEntries,
  WRONG_TOKEN,
} from "./answers.ts";
import { parseRange } from "./range.ts";
import { type RepoFile, type RepoSnapshot, readRepo } from "./repo.ts";

/** A call that the Hub answered, for tests that want to see what was asked. Never holds the token itself. */
export interface HubCall {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly authorized: boolean;
  /** A part of a file was asked for. */
  readonly part: boolean;
}

export interface HubOptions {
  /** Folder that holds `<org>/<name>/` for every repository, and `<org>/<name>@<revision>/` for further revisions. */
  readonly root: string;
  /** The token that gated repositories ask for; without it nobody can read them. */
  readonly token?: string;
  /** Most entries in one page of a tree, 1000 by default; clients follow the `Link` header. */
  readonly treePageSize?: number;
  readonly onCall?: (call: HubCall) => void;
}

/** A larger read than Node's own: files here may be of gigabytes. */
const READ_BYTES = 512 * 1024;

interface Params {
  org: string;
  name: string;
  rev?: string;
  oid?: string;
  "*"?: string;
}
type Request = FastifyRequest<{ Params: Params; Querystring: Record<string, string | undefined> }>;

/**
 * A local stand-in for the Hugging Face Hub's read calls, as Python's huggingface_hub and the JavaScript client make them.
 * Files are looked at in each call, so a changed file is a new commit at once.
 */
export function buildHub(options: HubOptions): FastifyInstance {
  const app = fastify({ routerOptions: { maxParamLength: 1024 } });
  // Python's client sends paths-info as a form, JavaScript's as JSON.
  app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, async (_: FastifyRequest, body: string) => ({
    paths: new URLSearchParams(body).getAll("paths"),
  }));
  const repoOf = (request: Request): Promise<RepoSnapshot | HubError> => findRepo(options.root, request.params);

  app.get("/api/models/:org/:name", sendInfo);
  app.get("/api/models/:org/:name/revision/:rev", sendInfo);
  app.get("/api/models/:org/:name/tree/:rev", sendTree);
  app.get("/api/models/:org/:name/tree/:rev/*", sendTree);
  app.post("/api/models/:org/:name/paths-info/:rev", sendPathsInfo);
  app.get("/:org/:name/resolve/:rev/*", sendFile);
  app.get("/_storage/:org/:name/:rev/:oid/*", sendStored);
  app.setNotFoundHandler((_, reply) => sendError(reply, REPO_NOT_FOUND));
  app.addHook("onResponse", async (request, reply) => {
    options.onCall?.({
      method: request.method,
      url: request.url,
      status: reply.statusCode,
      authorized: request.headers.authorization !== undefined,
      part: request.headers.range !== undefined,
    });
  });
  return app;

  async function sendInfo(request: Request, reply: FastifyReply): Promise<FastifyReply> {
    const repo = await repoOf(request);
    return isError(repo) ? sendError(reply, repo) : reply.send(modelInfo(repo, isOn(request.query.blobs)));
  }

  async function sendTree(request: Request, reply: FastifyReply): Promise<FastifyReply> {
    const repo = await repoOf(request);
    if (isError(repo)) return sendError(reply, repo);
    const folder = (request.params["*"] ?? "").replace(/\/+$/, "");
    const { query } = request;
    const entries = treeEntries(repo, folder, { recursive: isOn(query.recursive), expand: isOn(query.expand) });
    if (entries === undefined) return sendError(reply, entryNotFound(folder, request.params.rev ?? "main"));
    const from = Number(query.cursor ?? 0);
    const to = from + Math.min(Number(query.limit ?? Number.POSITIVE_INFINITY), options.treePageSize ?? 1000);
    if (to < entries.length) {
      const next = new URL(request.url, origin(request));
      next.searchParams.set("cursor", String(to));
      reply.header("link", `<${next.href}>; rel="next"`);
    }
    return reply.send(entries.slice(from, to));
  }

  async function sendPathsInfo(request: Request, reply: FastifyReply): Promise<FastifyReply> {
    const repo = await repoOf(request);
    if (isError(repo)) return sendError(reply, repo);
    const asked = (request.body as { paths?: readonly string[] } | undefined)?.paths ?? [];
    return reply.send(repo.files.filter((file) => asked.includes(file.path)).map(fileEntry));
  }

  async function sendFile(request: Request, reply: FastifyReply): Promise<FastifyReply> {
    const repo = await repoOf(request);
    if (isError(repo)) return sendError(reply, repo);
    const refused = repo.gated ? refuseToken(request, repo.id) : undefined;
    if (refused !== undefined) return sendError(reply, refused);
    const { rev = "main", "*": path = "" } = request.params;
    reply.header("x-repo-commit", repo.commit);
    const file = repo.files.find((candidate) => candidate.path === path);
    if (file === undefined) return sendError(reply, entryNotFound(path, rev));
    if (file.lfsOid === undefined) return sendBytes(request, reply, file, file.gitOid);
    // As on the Hub: large files come from a store behind a link that needs no token, so clients must follow a redirect.
    const link = `/_storage/${repo.id}/${encodeURIComponent(rev)}/${file.lfsOid}/${path.split("/").map(encodeURIComponent).join("/")}`;
    reply.headers({ ...linkedHeaders(file, file.lfsOid), etag: `"${file.gitOid}"`, "accept-ranges": "bytes" });
    return reply.redirect(new URL(link, origin(request)).href, 302);
  }

  async function sendStored(request: Request, reply: FastifyReply): Promise<FastifyReply> {
    const repo = await repoOf(request);
    if (isError(repo)) return sendError(reply, repo);
    const file = repo.files.find((candidate) => candidate.path === request.params["*"]);
    // The object's id in the link is the permission, and a changed file is another object.
    if (file?.lfsOid === undefined || file.lfsOid !== request.params.oid) return sendError(reply, STORED_OBJECT_GONE);
    // The Hub's store is another host, where Python's client stops before it follows; on the same host it follows and wants these here.
    reply.headers({ ...linkedHeaders(file, file.lfsOid), "x-repo-commit": repo.commit });
    return sendBytes(request, reply, file, file.lfsOid);
  }

  function refuseToken(request: Request, id: string): HubError | undefined {
    const sent = request.headers.authorization;
    if (sent === undefined) return gatedRepo(id);
    return options.token !== undefined && sent === `Bearer ${options.token}` ? undefined : WRONG_TOKEN;
  }
}

async function findRepo(root: string, { org, name, rev = "main" }: Params): Promise<RepoSnapshot | HubError> {
  const repo = await readRepo(root, org, name, rev);
  if (repo === "no-repo") return REPO_NOT_FOUND;
  return repo === "no-revision" ? revisionNotFound(rev) : repo;
}

function linkedHeaders(file: RepoFile, lfsOid: string): Record<string, string> {
  return { "x-linked-etag": `"${lfsOid}"`, "x-linked-size": String(file.size) };
}

function sendBytes(request: Request, reply: FastifyReply, file: RepoFile, etag: string): FastifyReply {
  reply.headers({ etag: `"${etag}"`, "accept-ranges": "bytes", "content-type": "application/octet-stream" });
  const range = parseRange(request.headers.range, file.size);
  if (range === "unsatisfiable") return reply.code(416).header("content-range", `bytes */${file.size}`).send("");
  const { start, end } = range ?? { start: 0, end: file.size - 1 };
  if (range !== undefined) reply.code(206).header("content-range", `bytes ${start}-${end}/${file.size}`);
  reply.header("content-length", end - start + 1);
  const empty = request.method === "HEAD" || file.size === 0;
  return reply.send(empty ? Readable.from([]) : createReadStream(file.absolutePath, { start, end, highWaterMark: READ_BYTES }));
}

function sendError(reply: FastifyReply, error: HubError): FastifyReply {
  if (error.code !== undefined) reply.header("x-error-code", error.code);
  return reply.code(error.status).header("x-error-message", error.message).send({ error: error.message });
}

function isError(value: RepoSnapshot | HubError): value is HubError {
  return "status" in value;
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ["true", "1", "True"].includes(value);
}

function origin(request: FastifyRequest): string {
  return `http://${request.headers.host ?? "127.0.0.1"}`;
}

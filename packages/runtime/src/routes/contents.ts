import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import { type ContentFiles, RUNTIME_PATHS } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import type { FastifyReply, onRequestAsyncHookHandler } from "fastify";
import { Type } from "typebox";
import { isWhole, type StoredFile } from "../artifact/store/pool.ts";
import type { StoredContent } from "../artifact/store/store.ts";
import { RequestError } from "../errors.ts";
import type { AppDeps } from "./deps.ts";
import { requireToken } from "./token.ts";

/** Files that are given at once: a node that serves is not to be kept busy by those that come. */
const GIVEN_AT_ONCE = 8;
/** When whoever found no place asks again, in seconds. */
const RETRY_AFTER_S = 1;
/** How long a receiver may take nothing, in milliseconds. */
const IDLE_MS = 60_000;
/** One read of a file. */
const CHUNK_BYTES = 256 * 1024;

const Digest = Type.String({ pattern: "^sha256:[0-9a-f]{64}$" });
const OfContent = Type.Object({ digest: Digest });
const OfFile = Type.Object({ digest: Digest, name: Type.String() });

/**
 * Contents that this pod has, for other pods whose source does not give them any more. Only where a token keeps everybody else away.
 *
 * @param idleMs - how long a receiver may take nothing, in milliseconds
 */
export function contentRoutes(
  { contents, tokenFile, closing }: Pick<AppDeps, "contents" | "tokenFile" | "closing">,
  idleMs: number = IDLE_MS,
): FastifyPluginAsyncTypebox {
  const options = { onRequest: tokenFile === undefined ? refuse : requireToken(tokenFile), exposeHeadRoute: false };
  const found = async (digest: string): Promise<StoredContent> => {
    const content = await contents.holding(digest);
    if (content === undefined) throw new RequestError(404, "NotFound", `this pod has no complete content ${digest}`);
    return content;
  };
  let given = 0;
  return async (app) => {
    app.get(pathOf(RUNTIME_PATHS.content), { ...options, schema: { params: OfContent } }, async (request): Promise<ContentFiles> => {
      const { digest, manifest } = await found(request.params.digest);
      return { digest, files: manifest.files.map(({ name, sizeBytes, sha256 }) => ({ name, size_bytes: sizeBytes, sha256 })) };
    });

    app.get(pathOf(RUNTIME_PATHS.contentFile), { ...options, schema: { params: OfFile } }, async (request, reply) => {
      const { digest, name } = request.params;
      if (given >= GIVEN_AT_ONCE) {
        void reply.header("retry-after", String(RETRY_AFTER_S));
        throw new RequestError(503, "Busy", `this pod gives ${GIVEN_AT_ONCE} files already: ask again in a moment`);
      }
      // Counted before the first wait: many may ask at once.
      given += 1;
      let isOver = false;
      const over = () => {
        if (!isOver) given -= 1;
        isOver = true;
      };
      try {
        const { path, manifest } = await found(digest);
        // Only a name of the list is ever part of a path.
        const file = manifest.files.find((f) => f.name === name);
        if (file === undefined) throw new RequestError(404, "NotFound", `the content ${digest} has no such file: ask for its list`);
        const span = spanOf(request.headers.range, file.sizeBytes);
        const handle = await opened(join(path, file.name), file);
        return give(reply, handle, file, span, { closing, idleMs, over });
      } catch (error) {
        over();
        throw error;
      }
    });
  };
}

function give(
  reply: FastifyReply,
  handle: FileHandle,
  { sizeBytes }: StoredFile,
  { start, end, isPart }: Span,
  { closing, idleMs, over }: { readonly closing: AbortSignal; readonly idleMs: number; readonly over: () => void },
): FastifyReply {
  void reply.header("accept-ranges", "bytes").header("content-length", String(end - start));
  void reply.type("application/octet-stream").header("cache-control", "no-store");
  if (isPart) void reply.code(206).header("content-range", `bytes ${start}-${end - 1}/${sizeBytes}`);
  if (start === end) {
    void handle
      .close()
      .catch(() => undefined) // Nothing was read.
      .finally(over);
    return reply.send(Buffer.alloc(0));
  }
  const stream = addAbortSignal(closing, handle.createReadStream({ start, end: end - 1, highWaterMark: CHUNK_BYTES }));
  stream.once("close", over);
  // Whoever takes nothing keeps no place.
  reply.raw.setTimeout(idleMs, () => reply.raw.destroy());
  return reply.send(stream);
}

/** @throws RequestError 404 for a file that is not there as it was checked */
async function opened(path: string, file: StoredFile): Promise<FileHandle> {
  const gone = (cause?: unknown) =>
    new RequestError(404, "NotFound", `${file.name} is not here any more as it was checked`, cause === undefined ? {} : { cause });
  const handle = await open(path, "r").catch((error: unknown) => {
    throw gone(error);
  });
  if (isWhole(file, await handle.stat())) return handle;
  await handle.close();
  throw gone();
}

/** Bytes of a file, from `start` up to, but without, `end`. */
interface Span {
  readonly start: number;
  readonly end: number;
  /** It was asked for by a `Range`. */
  readonly isPart: boolean;
}

/**
 * Reads a `Range` of one part, `bytes=FIRST-LAST`. Any other is passed over, as RFC 9110 lets a server do: the whole file is given.
 *
 * @throws RequestError 416 for bytes that the file does not have
 */
export function spanOf(range: string | undefined, sizeBytes: number): Span {
  const [, first = "", last = ""] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(range ?? "") ?? [];
  if (first === "") return { start: 0, end: sizeBytes, isPart: false };
  const start = Number(first);
  const end = Math.min(Number(last) + 1, sizeBytes);
  if (start >= end) throw new RequestError(416, "RangeNotSatisfiable", `the file has ${sizeBytes} bytes: ask for some of these`);
  return { start, end, isPart: true };
}

const refuse: onRequestAsyncHookHandler = async () => {
  throw new RequestError(
    403,
    "ContentsNotGiven",
    "this runtime gives contents to nobody, for it was started without --token-file: start the sidecars with the same one, and the controller with --runtime-token-file",
  );
};

/** A path of the contract, as the server wants its parts written. */
function pathOf(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

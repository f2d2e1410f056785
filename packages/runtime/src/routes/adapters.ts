import {
  ArtifactUrlError,
  type LoadRequest,
  LoadRequestSchema,
  PrepareRequestSchema,
  parseArtifactUrl,
  RUNTIME_PATHS,
  UnloadRequestSchema,
} from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { Type } from "typebox";
import { RequestError } from "../errors.ts";
import type { AppDeps } from "./deps.ts";
import { requireToken } from "./token.ts";
import { WatchStream } from "./watch-stream.ts";

/** More than any request of ours: names and a Secret. */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** The same where prompts to check come with it. */
const PREPARE_BODY_LIMIT_BYTES = 4 * 1024 * 1024;

const ListQuery = Type.Object({ watch: Type.Optional(Type.String()) });

/** Load, prepare, unload, list and watch. */
export function adapterRoutes({ manager, feed, closing, log, tokenFile }: AppDeps): FastifyPluginAsyncTypebox {
  const changes = { bodyLimit: BODY_LIMIT_BYTES, ...(tokenFile === undefined ? {} : { onRequest: requireToken(tokenFile) }) };
  return async (app) => {
    app.post(RUNTIME_PATHS.load, { ...changes, schema: { body: LoadRequestSchema } }, async (request, reply) => {
      checkUrl(request.body);
      const { status, body } = await manager.load(request.body);
      return reply.code(status).send(body);
    });

    app.post(
      RUNTIME_PATHS.prepare,
      { ...changes, bodyLimit: PREPARE_BODY_LIMIT_BYTES, schema: { body: PrepareRequestSchema } },
      async (request, reply) => {
        checkUrl(request.body);
        const { status, body } = manager.prepare(request.body);
        return reply.code(status).send(body);
      },
    );

    app.post(RUNTIME_PATHS.unload, { ...changes, schema: { body: UnloadRequestSchema } }, async (request, reply) => {
      const { status, body } = await manager.unload(request.body);
      return reply.code(status).send(body);
    });

    app.get(RUNTIME_PATHS.adapters, { schema: { querystring: ListQuery } }, async (request, reply) => {
      if (request.query.watch !== "true" && request.query.watch !== "1") return reply.send(feed.snapshot());
      reply.hijack();
      reply.raw.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
      const stream = new WatchStream(reply.raw, () =>
        log.warn({ peer: request.ip }, "a reader of the watch fell behind: it is disconnected"),
      );
      stream.follow(feed, AbortSignal.any([closing, closed(reply.raw)]));
      return reply;
    });
  };
}

/** @throws RequestError 400 for a URL of no kind that is known */
export function checkUrl({ artifact_url: url }: Pick<LoadRequest, "artifact_url">): void {
  try {
    parseArtifactUrl(url);
  } catch (error) {
    if (error instanceof ArtifactUrlError) throw new RequestError(400, "InvalidArtifactURL", `artifact_url: ${error.message}`);
    throw error;
  }
}

function closed(socket: NodeJS.EventEmitter): AbortSignal {
  const controller = new AbortController();
  socket.once("close", () => controller.abort());
  return controller.signal;
}

import Fastify, { type FastifyInstance, LogController } from "fastify";
import { keyCheck } from "./auth.ts";
import { readBaseModel } from "./base-model.ts";
import { Engine } from "./engine.ts";
import { internalError } from "./errors.ts";
import { sendDetail, sendRefusal, sendUnauthorized } from "./http.ts";
import { HubCache } from "./hub.ts";
import { Metrics } from "./metrics.ts";
import { type EngineInput, OptionsError, resolveOptions } from "./options.ts";
import type { RouteContext } from "./routes/context.ts";
import { generateRoutes } from "./routes/generate.ts";
import { loraRoutes } from "./routes/lora.ts";
import { mockRoutes } from "./routes/mock.ts";
import { statusRoutes } from "./routes/status.ts";

/** Above what any gateway lets through; vLLM itself has no limit. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Uvicorn closes idle connections after this (VLLM_HTTP_TIMEOUT_KEEP_ALIVE). */
const KEEP_ALIVE_MS = 5_000;
/** How long a dead engine still answers, with 503 on /health, before the process ends. */
const DEATH_MS = 100;

/** What the engine does to the process it lives in. The program ends; an engine inside a test closes its server. */
export interface ProcessDeps {
  /** The engine is over: end with this code. At once for a crash, after the last answers for a death. */
  readonly exit: (code: number) => void;
}

function pathOf(url: string): string {
  const path = url.split("?", 1)[0] ?? "";
  if (!path.includes("%")) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Remembers which methods a path has, because a path with another method is 405, not 404. */
function rememberMethods(app: FastifyInstance): (path: string) => string | undefined {
  const methods = new Map<string, string[]>();
  app.addHook("onRoute", ({ url, method }) => {
    methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()]);
  });
  return (path) => methods.get(path.replace(/^\/adapters\/[^/]+$/, "/adapters/:name"))?.join(", ");
}

function buildServer(engine: Engine, metrics: Metrics): FastifyInstance {
  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    logger: engine.options.logLevel === "silent" ? false : { level: engine.options.logLevel },
  });
  const context: RouteContext = { engine, metrics };
  const allowed = rememberMethods(app);
  // Bodies are parsed by the routes: FastAPI's answers to bad ones are part of the contract.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));

  const mayPass = keyCheck(engine.options.apiKeys);
  app.addHook("onRequest", (request, reply, done) => {
    if (mayPass(request.method, pathOf(request.url), request.headers.authorization)) done();
    else sendUnauthorized(reply);
  });
  app.setNotFoundHandler((request, reply) => {
    const allow = allowed(pathOf(request.url));
    if (allow === undefined) sendDetail(reply, 404, "Not Found");
    else sendDetail(reply, 405, "Method Not Allowed", allow);
  });
  app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
    request.log.error(error);
    if (reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    const status = error.statusCode ?? 500;
    sendRefusal(
      reply,
      status >= 500 ? internalError(error.message) : { status, type: "Bad Request", message: error.message },
      engine.settings.errorShape,
    );
  });

  statusRoutes(app, context);
  if (!engine.options.pooling) generateRoutes(app, context);
  if (engine.options.allowRuntimeLoraUpdating) loraRoutes(app, context);
  mockRoutes(app, context);
  return app;
}

/**
 * Builds an engine that listens nowhere yet: call `listen` or `inject` on what it returns, and `close` at the end.
 * Static adapters are in when it returns.
 * @throws OptionsError if the options contradict each other or a static adapter cannot be loaded
 */
export async function buildEngine(input: EngineInput = {}, deps?: ProcessDeps): Promise<FastifyInstance> {
  const options = resolveOptions(input);
  const base = await readBaseModel(options.model);
  const hub = new HubCache(options.hub);
  const metrics = new Metrics({
    modelName: options.servedModelNames[0] ?? options.model,
    maxLoras: options.enableLora ? options.maxLoras : undefined,
    startSeconds: Math.round(Date.now() / 10) / 100,
  });
  const exit = (code: number): void => {
    if (deps !== undefined) {
      deps.exit(code);
      return;
    }
    app.server.closeAllConnections();
    app.close().catch(() => undefined);
  };
  const engine = new Engine(options, {
    base,
    hub,
    metrics,
    // Code 0, as measured: vLLM's server shuts down in good order once its engine is dead.
    onDeath: () => setTimeout(() => exit(0), DEATH_MS),
    onCrash: () => exit(1),
    log: (event, message) => app.log.info(event, message),
  });
  metrics.observe({ scheduler: engine.scheduler, kvCacheUsage: () => engine.scheduler.running / options.maxNumSeqs });
  const app: FastifyInstance = buildServer(engine, metrics);
  app.addHook("preClose", async () => engine.close());
  app.addHook("onClose", () => hub.close());
  for (const { name, path, baseModelName } of options.loraModules) {
    const refusal = await engine.load({ name, path, inPlace: false, baseModelName });
    if (refusal !== undefined) {
      await app.close();
      throw new OptionsError(refusal.message);
    }
  }
  return app;
}

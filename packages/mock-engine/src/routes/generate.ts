import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { JsonObject, Parsed } from "../body.ts";
import { EngineDeadError, errorBody, internalError, type Refusal } from "../errors.ts";
import { ClientGoneError, generate, reasonOf } from "../generate.ts";
import { send, sendJson, startEvents } from "../http.ts";
import type { Stopwatch } from "../metrics.ts";
import { chatCompletion, chatEvents, completion, completionEvents, DONE, type Envelope, event, nowSeconds, randomId } from "../openai.ts";
import { describeProblem, jsonProblem } from "../python-json.ts";
import { type Plan, planChat, planCompletion } from "../requests.ts";
import { type RouteContext, readBody, refuse } from "./context.ts";

/** Bytes of a stream that are gathered before they are written when no token has to be waited for. */
const WRITE_BYTES = 16_384;

/** Routes that answer with text. */
export function generateRoutes(app: FastifyInstance, context: RouteContext): void {
  const { engine } = context;

  async function run(request: FastifyRequest, reply: FastifyReply, read: (body: JsonObject) => Parsed<Plan>): Promise<void> {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, body.refusal);
    const plan = read(body.value);
    if (!plan.ok) return refuse(context, reply, plan.refusal);
    await answer(context, request, reply, plan.value);
  }

  app.post("/v1/completions", (request, reply) => run(request, reply, (body) => planCompletion(engine, body)));
  app.post("/v1/chat/completions", (request, reply) => run(request, reply, (body) => planChat(engine, body)));

  // Where the SageMaker library is in front, the model comes from a header; one in the body is overwritten.
  app.post("/invocations", async (request, reply) => {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, invocationRefusal(request, body.refusal));
    const header = request.headers["x-amzn-sagemaker-adapter-identifier"];
    const model = Array.isArray(header) ? header[0] : header;
    const plan = (body.value.messages === undefined ? planCompletion : planChat)(engine, { ...body.value, model });
    if (!plan.ok) return refuse(context, reply, plan.refusal);
    await answer(context, request, reply, plan.value);
  });
}

/** The library parses the body itself and says so in other words. */
function invocationRefusal(request: FastifyRequest, refusal: Refusal): Refusal {
  const text = (request.body as Buffer | undefined)?.toString("utf8") ?? "";
  try {
    JSON.parse(text);
    return refusal;
  } catch (error) {
    return { status: 400, type: "Bad Request", message: `JSON decode error: ${describeProblem(jsonProblem(error, text), text)}` };
  }
}

async function answer(context: RouteContext, request: FastifyRequest, reply: FastifyReply, plan: Plan): Promise<void> {
  const { engine, metrics } = context;
  const { job } = plan;
  const given = request.headers["x-request-id"];
  const id = (Array.isArray(given) ? given[0] : given) ?? plan.requestId ?? randomId();
  const envelope: Envelope = {
    id: `${plan.kind === "chat" ? "chatcmpl" : "cmpl"}-${id}`,
    created: nowSeconds(),
    model: job.adapter?.name ?? engine.baseName,
  };
  const watch = metrics.stopwatch(plan.choices);
  let controller: AbortController | undefined;
  const gone = (): void => {
    if (!reply.raw.writableFinished) controller?.abort(new ClientGoneError("the client went away"));
  };
  try {
    controller = engine.enter();
    reply.raw.once("close", gone);
    await (plan.stream
      ? stream(context, reply, plan, envelope, controller, watch)
      : whole(context, reply, plan, envelope, controller, watch));
    metrics.finished(job.finish, job.promptTokens, job.maxTokens * plan.choices);
  } catch (error) {
    metrics.finished(reasonOf(error), job.promptTokens, 0);
    if (!(error instanceof EngineDeadError || error instanceof ClientGoneError)) request.log.error(error);
    fail(context, reply, error);
  } finally {
    if (controller !== undefined) engine.leave(controller);
    reply.raw.off("close", gone);
  }
}

/** Says why in the way that is still open: an answer, an event in a stream that has begun, or nothing to a client that is gone. */
function fail({ engine }: RouteContext, reply: FastifyReply, error: unknown): void {
  const body = errorBody(internalError(error instanceof Error ? error.message : String(error)), engine.settings.errorShape);
  if (reply.raw.headersSent) reply.raw.end(`${event(body)}${DONE}`);
  else send(reply, 500, body, "application/json");
}

async function whole(
  { engine }: RouteContext,
  reply: FastifyReply,
  plan: Plan,
  envelope: Envelope,
  controller: AbortController,
  watch: Stopwatch,
): Promise<void> {
  const { job, choices } = plan;
  let text = "";
  await generate(engine, job, controller, (_, token) => {
    watch.token();
    text += token;
  });
  watch.end();
  const texts = Array.from({ length: choices }, () => text);
  const counts = { promptTokens: job.promptTokens, completionTokens: job.maxTokens * choices };
  sendJson(reply, (plan.kind === "chat" ? chatCompletion : completion)(envelope, texts, job.finish, counts));
}

async function stream(
  { engine }: RouteContext,
  reply: FastifyReply,
  plan: Plan,
  envelope: Envelope,
  controller: AbortController,
  watch: Stopwatch,
): Promise<void> {
  const { job, choices } = plan;
  const events = (plan.kind === "chat" ? chatEvents : completionEvents)(envelope, plan.includeUsage);
  const indexes = Array.from({ length: choices }, (_, i) => i);
  let pending = "";
  let out: ServerResponse | undefined;
  await generate(engine, job, controller, (token, text) => {
    watch.token();
    // The answer starts with the first token, so that whatever fails before it is a plain error answer.
    if (token === 0) pending += indexes.map((i) => events.start(i)).join("");
    const isLast = token === job.maxTokens - 1;
    for (const i of indexes) pending += isLast ? events.last(i, text, job.finish) : events.token(i, text);
    if (isLast || (engine.settings.tokenDelayMs === 0 && pending.length < WRITE_BYTES)) return undefined;
    out ??= startEvents(reply);
    const chunk = pending;
    pending = "";
    return write(out, chunk, controller.signal);
  });
  watch.end();
  if (plan.includeUsage) pending += events.usage({ promptTokens: job.promptTokens, completionTokens: job.maxTokens * choices });
  out ??= startEvents(reply);
  out.end(pending + DONE);
}

/** Writes; waits for the reader when it lags behind. */
function write(out: ServerResponse, chunk: string, signal: AbortSignal): Promise<void> | undefined {
  if (out.write(chunk)) return undefined;
  return once(out, "drain", { signal }).then(() => undefined);
}

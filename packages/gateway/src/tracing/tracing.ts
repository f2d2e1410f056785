import type { Logger } from "@aibrix/service";
import { type Attributes, type Context, diag, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider } from "@opentelemetry/sdk-trace";
import { MODEL_FROM, type RequestRecord, resultOf } from "../requests.ts";
import type { TracingSettings } from "./settings.ts";

const NAME = "aibrix-gateway-plugins";

/** Time for the last spans to be sent when the program ends, in milliseconds. */
const SHUTDOWN_MS = 3_000;

/** Headers by which a trace goes on (W3C Trace Context). */
export type TraceHeaders = Readonly<Record<string, string>>;

/** Writes a span for each request. */
export interface Tracing {
  /**
   * Ends a request's span, a child of the client's where it sent a `traceparent`.
   *
   * @returns the headers by which the engine goes on with it
   */
  readonly record: (record: RequestRecord) => TraceHeaders;
  /** Sends what is not sent yet, for a bounded time. */
  readonly close: () => Promise<void>;
}

/** Starts to send spans by OTLP over HTTP. A collector that does not answer holds up nothing: spans are dropped then, and it is logged. */
export function startTracing({ ratio }: TracingSettings, log: Logger): Tracing {
  diag.setLogger(diagTo(log), { suppressOverrideMessage: true });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": process.env.OTEL_SERVICE_NAME || NAME }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  const tracer = provider.getTracer(NAME);
  const propagator = new W3CTraceContextPropagator();
  return {
    record: (record) => {
      const endMs = Date.now();
      const parent = propagator.extract(ROOT_CONTEXT, record.head, GETTER);
      const span = tracer.startSpan(
        "aibrix.route",
        { kind: SpanKind.SERVER, startTime: endMs - record.durationMs, attributes: attributesOf(record) },
        parent,
      );
      if (record.reply.kind === "answer" && record.reply.answer.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end(endMs);
      return headersOf(propagator, trace.setSpan(parent, span));
    },
    close: async () => {
      await provider.forceFlush({ timeoutMillis: SHUTDOWN_MS }).catch(() => undefined);
      await provider.shutdown().catch(() => undefined);
    },
  };
}

function headersOf(propagator: W3CTraceContextPropagator, context: Context): TraceHeaders {
  const headers: Record<string, string> = {};
  propagator.inject(context, headers, { set: (to: Record<string, string>, key, value) => (to[key] = value) });
  return headers;
}

const GETTER = {
  keys: () => ["traceparent", "tracestate"],
  get: (head: RequestRecord["head"], key: string) => (key === "traceparent" ? head?.traceparent : head?.tracestate),
};

/** Names of OpenTelemetry's conventions where they have one. */
function attributesOf(record: RequestRecord): Attributes {
  const { head, reply, waitedMs } = record;
  return {
    "http.request.method": head?.method,
    "url.path": head?.path.split("?", 1)[0],
    "gen_ai.request.model": reply.model,
    "aibrix.namespace": head?.modelNamespace,
    "aibrix.result": resultOf(record),
    "aibrix.waited_ms": waitedMs,
    ...(reply.phase === undefined ? {} : { "aibrix.model_from": MODEL_FROM[reply.phase] }),
    ...(reply.kind === "route" ? { "server.address": reply.destinations[0] } : {}),
    ...(reply.kind === "answer" ? { "http.response.status_code": reply.answer.status } : {}),
  };
}

function diagTo(log: Logger): Parameters<typeof diag.setLogger>[0] {
  const ignore = (): void => undefined;
  const warn = (message: string): void => log.warn({ problem: message.slice(0, 500) }, "traces cannot be sent");
  return { error: warn, warn, info: ignore, debug: ignore, verbose: ignore };
}

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DataPath, startDataPath } from "./support/data-path.ts";
import { FakeRuntime } from "./support/fake-runtime.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

/** What counts of a span in OTLP's JSON. */
interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string; readonly intValue?: number } }[];
}

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT = "00f067aa0ba902b7";

let collector: Server;
let bodies: string[];
let engine: StandInEngine;
let runtime: FakeRuntime;
let path: DataPath;

beforeAll(async () => {
  bodies = [];
  collector = createServer((request, response) => {
    let body = "";
    request
      .on("data", (chunk: Buffer) => (body += chunk.toString()))
      .on("end", () => {
        if (request.url === "/v1/traces") bodies.push(body);
        response.writeHead(200, { "content-type": "application/json" }).end("{}");
      });
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  engine = await new StandInEngine("a", ["base"]).start();
  runtime = await new FakeRuntime(engine.url, ["base"]).start();
  const { port } = collector.address() as { port: number };
  path = await startDataPath([engine], [{ engine: engine.url, runtime: runtime.url }], {
    gatewayEnv: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_BSP_SCHEDULE_DELAY: "100" },
  });
});

afterAll(async () => {
  await path?.stop();
  await runtime?.stop();
  await engine?.stop();
  collector?.close();
});

function spans(): Span[] {
  return bodies.flatMap((body) =>
    (JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] }).resourceSpans.flatMap((r) =>
      r.scopeSpans.flatMap((s) => s.spans),
    ),
  );
}

function attributes({ attributes }: Span): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));
}

test("a request goes on with the client's trace, and has a span in it", async () => {
  const headers = { traceparent: `00-${TRACE}-${CLIENT}-01`, tracestate: "vendor=1" };
  const body = '{"model":"base","prompt":"secret prompt"}';
  expect((await path.call("/v1/completions?key=secret-query", { body, headers })).status).toBe(200);
  const span = await until("the span", () => spans().find((s) => s.traceId === TRACE));
  expect(span).toMatchObject({ name: "aibrix.route", parentSpanId: CLIENT });
  expect(attributes(span)).toMatchObject({
    "http.request.method": "POST",
    "url.path": "/v1/completions",
    "gen_ai.request.model": "base",
    "aibrix.result": "routed",
    "aibrix.model_from": "envoy",
    "server.address": `127.0.0.1:${engine.port}`,
  });
  const seen = engine.seen.at(-1)?.headers;
  expect(seen?.traceparent).toBe(`00-${TRACE}-${span.spanId}-01`);
  expect(seen?.tracestate).toBe("vendor=1");
  expect(bodies.join()).not.toContain("secret");
});

test("a client that does not want its trace kept has none", async () => {
  const other = "5bf92f3577b34da6a3ce929d0e0e4736";
  await path.complete("base", { headers: { traceparent: `00-${other}-${CLIENT}-00` } });
  expect(engine.seen.at(-1)?.headers.traceparent).toMatch(new RegExp(`^00-${other}-[0-9a-f]{16}-00$`));
  await path.complete("base", { headers: { traceparent: `00-${TRACE.replace("4", "6")}-${CLIENT}-01` } });
  await until("a later span", () => spans().some((s) => s.traceId === TRACE.replace("4", "6")));
  expect(spans().filter((s) => s.traceId === other)).toEqual([]);
});

test("a request without a trace begins one; an answer of the gateway's own is in it", async () => {
  await path.complete("nobody");
  const span = await until("the span", () => spans().find((s) => attributes(s)["gen_ai.request.model"] === "nobody"));
  expect(span.parentSpanId ?? "").toBe("");
  expect(attributes(span)).toMatchObject({ "aibrix.result": "aibrix_model_not_found", "http.response.status_code": 404 });
});

import { createServer, type Server } from "node:http";
import { envoyBootstrap } from "@aibrix/devcluster";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { scanJson } from "../src/body/scan.ts";
import { JSON_PATHS } from "../src/http/paths.ts";
import { readRequestHead } from "../src/http/request-head.ts";
import { type EnvoyPath, startEnvoyWith } from "./support/data-path.ts";
import { jsonText, jsonWithModel } from "./support/json-text.ts";

const HEADER = "x-gateway-model-peek";

/** What the script looks at in one piece. */
const PIECE = 64 * 1024;

let echo: Server;
let envoy: EnvoyPath;

// Envoy as it ships, without the gateway: what the script finds arrives at the upstream.
beforeAll(async () => {
  echo = createServer((request, response) => {
    request.resume().on("end", () => response.end(JSON.stringify({ peek: request.headers[HEADER] ?? null })));
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  const { port } = echo.address() as { port: number };
  envoy = await startEnvoyWith(({ listenPort, adminPort, grpcPort }) =>
    withoutGateway(
      envoyBootstrap({ listenPort, adminPort, extProc: { host: "127.0.0.1", port: grpcPort }, engines: [{ host: "127.0.0.1", port }] }),
    ),
  );
});

afterAll(async () => {
  await envoy?.stop();
  echo?.close();
});

interface Named {
  readonly name: string;
}

function withoutGateway(bootstrap: ReturnType<typeof envoyBootstrap>): object {
  // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration is JSON without types here.
  const changed: any = structuredClone(bootstrap);
  const hcm = changed.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
  hcm.http_filters = hcm.http_filters.filter(({ name }: Named) => name !== "envoy.filters.http.ext_proc");
  for (const route of hcm.route_config.virtual_hosts[0].routes) route.match.headers = undefined;
  return changed;
}

async function peek(body: string | Buffer, headers: Record<string, string> = {}, path = "/v1/completions"): Promise<string | null> {
  const answer = await envoy.call(path, { method: "POST", body, headers });
  expect(answer.status).toBe(200);
  return answer.json.peek;
}

/** The name as the gateway reads it. */
function asRead(found: string | null): string | undefined {
  return readRequestHead(found === null ? [] : [{ key: HEADER, rawValue: Buffer.from(found, "latin1") }]).peekedModel;
}

test.each([
  { name: "a model", body: '{"model":"m","prompt":"x"}', want: "m" },
  {
    name: "a model after much else",
    body: '{"messages":[{"role":"user","model":"x","content":"{\\"model\\":\\"y\\"}"}],"model":"m"}',
    want: "m",
  },
  { name: "the last of two", body: '{"model":"a","model":"m"}', want: "m" },
  { name: "white space", body: ' \r\n\t{ "model" : "m" } \n', want: "m" },
  { name: "a nested model behind it", body: '{"model":"m","x":{"model":"y"},"z":[{"model":"w"}]}', want: "m" },
  { name: "a value like the key", body: '{"prompt":"model","x":"model","model":"m"}', want: "m" },
  { name: "quotes and backslashes", body: String.raw`{"prompt":"\\","x":"\"model\":\"y\"","y":"\\\"","model":"m"}`, want: "m" },
  { name: "UTF-8", body: '{"model":"größe/模型"}', want: "gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B" },
  { name: "bytes that no header has", body: '{"model":"a b%\u007f"}', want: "a%20b%25%7F" },
  { name: "numbers and literals", body: '{"a":-1.5E+3,"b":[true,false,null,{}],"model":"m","c":null}', want: "m" },
  {
    name: "a model behind a list of numbers",
    body: `{"input":[[${"12, ".repeat(40_000)}1]],"x":{"a":[1,"]"],"b":-2},"model":"m"}`,
    want: "m",
  },
  { name: "white space of several pieces", body: `${" ".repeat(PIECE + 5)}{"model":"m"}${"\n".repeat(2 * PIECE)}`, want: "m" },
  { name: "a model behind a key as long as nearly a piece", body: `{"${"k".repeat(PIECE - 10)}":1,"model":"m"}`, want: "m" },
  { name: "a long prompt", body: JSON.stringify({ prompt: 'x\\"\n'.repeat(50_000), model: "m" }), want: "m" },
  { name: "the longest name", body: JSON.stringify({ model: "m".repeat(256) }), want: "m".repeat(256) },
])("finds $name", async ({ body, want }) => {
  expect(await peek(body)).toBe(want);
});

test.each([
  { name: "a key with escapes", body: String.raw`{"model":"m","mod\u0065l":"x"}` },
  { name: "a name with escapes", body: String.raw`{"model":"\u006d"}` },
  { name: "a nested model only", body: '{"x":{"model":"m"}}' },
  { name: "a model that is no string", body: '{"model":"m","model":1}' },
  { name: "a model that is an object", body: '{"model":"m","model":{"model":"x"}}' },
  { name: "a model that is null", body: '{"model":"m","model":null}' },
  { name: "an empty name", body: '{"model":""}' },
  { name: "a name that is too long", body: JSON.stringify({ model: "m".repeat(257) }) },
  { name: "an array", body: '["model","m"]' },
  { name: "a cut body", body: '{"model":"m","prompt":"x' },
  { name: "two values", body: '{"model":"m"}{"model":"x"}' },
  { name: "a byte order mark", body: '\ufeff{"model":"m"}' },
  { name: "UTF-16", body: Buffer.from('{"model":"m"}', "utf16le") },
  { name: "a body that would hold Envoy up", body: `{"input":[${"{},".repeat(300_000)}1],"model":"m"}` },
  { name: "a string that would hold Envoy up", body: JSON.stringify({ prompt: '"'.repeat(600_000), model: "m" }) },
  { name: "a key longer than a piece", body: `{"${"k".repeat(2 * PIECE)}":1,"model":"m"}` },
  { name: "a string that never ends", body: `{"model":"m","prompt":"${"x".repeat(3 * PIECE)}` },
  { name: "a string behind the object", body: `{"model":"m"}${" ".repeat(PIECE)}"x"` },
  { name: "a nested value that never ends", body: `{"model":"m","x":[${"1,".repeat(1_000)}` },
  { name: "something else behind the model", body: '{"model":"m" x}' },
])("leaves $name to the gateway", async ({ body }) => {
  expect(await peek(body)).toBeNull();
});

test("finds the model wherever the body is cut into pieces", async () => {
  const tail = String.raw`\\\\\"\\","b":{"c":["]",{"model":"x"},"}\""]},"model":"größe","d":"\\"}`;
  // Every byte of the tail is once the first of a piece
  for (let cut = 0; cut <= Buffer.byteLength(tail); cut++) {
    const head = '{"a":"';
    const body = head + "x".repeat(PIECE - head.length - cut) + tail;
    expect(scanJson(Buffer.from(body), "model")).toEqual({ kind: "string", value: "größe" });
    expect([cut, asRead(await peek(body))]).toEqual([cut, "größe"]);
  }
});

test("looks at the paths of JSON bodies alone, and not into compressed ones", async () => {
  const body = '{"model":"m"}';
  for (const path of JSON_PATHS) expect([path, await peek(body, {}, `${path}?a=1`)]).toEqual([path, "m"]);
  expect(await peek(body, {}, "/v1/audio/transcriptions")).toBeNull();
  expect(await peek(body, {}, "/v1/other")).toBeNull();
  expect(await peek(body, { "content-encoding": "gzip" })).toBeNull();
});

test("a client's own copy never survives", async () => {
  expect(await peek("{", { [HEADER]: "evil" })).toBeNull();
  expect(await peek('{"model":"m"}', { [HEADER]: "evil" })).toBe("m");
  expect(await peek("x", { [HEADER]: "evil" }, "/v1/other")).toBeNull();
});

test("whatever it finds in a JSON text is what the gateway would", async () => {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof(jsonText, jsonWithModel), async (text) => {
      const body = Buffer.from(text);
      const scanned = scanJson(body, "model");
      const peeked = asRead(await peek(body));
      if (peeked === undefined) return;
      found++;
      expect(scanned).toEqual({ kind: "string", value: peeked });
    }),
    { numRuns: 1_500 },
  );
  expect(found).toBeGreaterThan(100);
});

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
/** What it looks at of a body's end first. */
const TAILS = [2 * 1024, 32 * 1024];
/** The start of a body whose end is looked at. */
const LONG = `{"prompt":"${'x\\"\\n'.repeat(20_000)}",`;

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
  { name: "a model at a long body's end", body: `${LONG}"model":"m"}`, want: "m" },
  {
    name: "a model before other members",
    body: `${LONG}"model":"m","n":-1.5E+3,"t":true,"f":false,"z":null,"s":"","e":{},"l":[ ]}`,
    want: "m",
  },
  { name: "white space at the end", body: `${LONG} "model"\t:\r"m" , "n" : 1 } \n`, want: "m" },
  { name: "the last of two at the end", body: `${LONG}"model":"a","x":{"model":"b"},"model":"m","y":[{"model":"c"}]}`, want: "m" },
  {
    name: "a model before strings like structure",
    body: `${LONG}${String.raw`"model":"m","x":"}","y":"\\","model ":"\\\"","z":"{\"model\":\"y\"}"`}}`,
    want: "m",
  },
  {
    name: "a model before tools",
    body: `${LONG}"model":"m","tools":${JSON.stringify(Array(200).fill({ name: 'a"]', model: "x" }))}}`,
    want: "m",
  },
  { name: "UTF-8 at the end", body: `${LONG}"größe":"模型","model":"größe/模型"}`, want: "gr%C3%B6%C3%9Fe/%E6%A8%A1%E5%9E%8B" },
  {
    name: "a model before a list longer than what is looked at first",
    body: `${LONG}"model":"m","input":[${"1,".repeat(30_000)}1]}`,
    want: "m",
  },
  { name: "a model in the middle", body: `${LONG}"model":"m",${LONG.slice(1)}"n":1}`, want: "m" },
  { name: "the last of two where one stands first", body: `{"model":"a",${LONG.slice(1)}"model":"m"}`, want: "m" },
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
  { name: "a body that would hold Envoy up", body: `{"model":"m","input":[${"{},".repeat(300_000)}1]}` },
  { name: "a string that would hold Envoy up", body: JSON.stringify({ model: "m", prompt: '"'.repeat(600_000) }) },
  { name: "a key longer than a piece", body: `{"model":"m","${"k".repeat(2 * PIECE)}":1}` },
  { name: "a string that never ends", body: `{"model":"m","prompt":"${"x".repeat(3 * PIECE)}` },
  { name: "a string behind the object", body: `{"model":"m"}${" ".repeat(PIECE)}"x"` },
  { name: "a nested value that never ends", body: `{"model":"m","x":[${"1,".repeat(1_000)}` },
  { name: "something else behind the model", body: '{"model":"m" x}' },
  { name: "a key with escapes at a long body's end", body: `${LONG}"model":"m",${String.raw`"mod\u0065l":"x"`}}` },
  { name: "a name with escapes at a long body's end", body: `${LONG}${String.raw`"model":"\u006d"`}}` },
  { name: "a nested model only, at a long body's end", body: `${LONG}"x":{"model":"m"},"y":"model"}` },
  ...["1", "null", "{}", '["m"]', '{"model":"m"}', '""', JSON.stringify("m".repeat(257))].map((value) => ({
    name: `a model that is ${value.slice(0, 20)} at a long body's end`,
    body: `${LONG}"model":"m","model":${value}}`,
  })),
  { name: "a model behind which the body is cut", body: `${LONG}"model":"m"` },
  ...["x", '"x"', "}", "]", ",", "{}", "\\", "\u0000"].map((end) => ({
    name: `a long body with ${JSON.stringify(end)} behind its end`,
    body: `${LONG}"model":"m"}${end}`,
  })),
  ...["x:1", '"x":NaN', '"x":01x', '"x":"', String.raw`"x":"\"`, '"x":[', '"x":]', String.raw`"x":\"a"`].map((member) => ({
    name: `a long body that ends with ${member}`,
    body: `${LONG}"model":"m",${member}}`,
  })),
  { name: "long UTF-16", body: Buffer.from(`${LONG}"model":"m"}`, "utf16le") },
  { name: "long UTF-16, big end first", body: Buffer.from(`${LONG}"model":"m"}`, "utf16le").swap16() },
])("leaves $name to the gateway", async ({ body }) => {
  expect(await peek(body)).toBeNull();
});

test("finds the model wherever the body is cut into pieces", async () => {
  const tail = String.raw`\\\\\"\\","b":{"c":["]",{"model":"x"},"}\""]},"model":"größe","d":"\\"}`;
  // Every byte of the tail is once the first of a piece. A body with the model in front is read from its start.
  for (let cut = 0; cut <= Buffer.byteLength(tail); cut++) {
    const head = '{"model":"other","a":"';
    const body = head + "x".repeat(PIECE - head.length - cut) + tail;
    expect(scanJson(Buffer.from(body), "model")).toEqual({ kind: "string", value: "größe" });
    expect([cut, asRead(await peek(body))]).toEqual([cut, "größe"]);
  }
});

test.each(TAILS)("finds the model wherever the last %d bytes begin", async (bytes) => {
  const text = String.raw`{"a":"\\\\\"\\","model":"x","b":{"c":["]",{"model":"x"},"}\""]},"model":"größe","d":"\\"}`;
  for (let cut = 0; cut <= Buffer.byteLength(text); cut++) {
    const body = text + " ".repeat(bytes - cut);
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

test.each([
  { of: "a JSON text", around: fc.constant({ before: 0, tail: 0 }) },
  { of: "a JSON text at the end of much white space", around: fc.constantFrom(...TAILS).map((bytes) => ({ before: bytes + 1, tail: 0 })) },
  { of: "a JSON text of which what is looked at first has a part", around: fc.constantFrom(...TAILS).map((tail) => ({ before: 0, tail })) },
])("whatever it finds in $of is what the gateway would", async ({ around }) => {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(jsonText, jsonWithModel),
      around,
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (text, { before, tail }, part) => {
        const behind = Math.max(0, tail - Math.round(part * Buffer.byteLength(text)));
        const body = Buffer.from(" ".repeat(before) + text + " ".repeat(behind));
        const scanned = scanJson(body, "model");
        const peeked = asRead(await peek(body));
        if (peeked === undefined) return;
        found++;
        expect(scanned).toEqual({ kind: "string", value: peeked });
      },
    ),
    { numRuns: 1_000 },
  );
  expect(found).toBeGreaterThan(100);
});

import { isUtf8 } from "node:buffer";
import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonText } from "../../test/support/json-text.ts";
import { type Scanned, scanJson } from "./scan.ts";

/** Tokens of JSON, and what Python's `json` takes besides. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[A-Za-z0-9.+-]+|[\s\S]/g;

/** With numbers in the place of those that Python's `json` takes and JSON does not have. */
function asJson(text: string): string {
  return text.replace(TOKENS, (token) => (/^(?:NaN|-?Infinity)$/.test(token) ? "0" : token));
}

/** What `JSON.parse` makes of it, or Python's `json.loads`. */
function parsed(body: Buffer): Scanned["kind"] | { readonly string: string } {
  if (!isUtf8(body)) return "notUtf8";
  let value: unknown;
  try {
    value = JSON.parse(asJson(body.toString("utf8")));
  } catch {
    return "invalid";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "notAnObject";
  if (!Object.hasOwn(value, "model")) return "missing";
  const { model } = value as { model: unknown };
  return typeof model === "string" ? { string: model } : "other";
}

function scanned(body: Buffer): ReturnType<typeof parsed> {
  const found = scanJson(body, "model");
  return found.kind === "string" ? { string: found.value } : found.kind;
}

/** The body at each of the four places that it may have in a word of memory, among bytes that would stop a scan. */
function shifted(text: string | Uint8Array): Buffer[] {
  const bytes = Buffer.from(text as string);
  return [0, 1, 2, 3].map((shift) => {
    const room = Buffer.alloc(bytes.length + 16, '"');
    room.set(bytes, shift);
    return room.subarray(shift, shift + bytes.length);
  });
}

function agrees(text: string | Uint8Array): void {
  for (const body of shifted(text)) expect(scanned(body)).toEqual(parsed(body));
}

test("every JSON text is read as JSON.parse reads it", () => {
  fc.assert(fc.property(jsonText, agrees), { numRuns: 3_000 });
});

test("a text with one byte changed, taken away or put in is read, or refused, as JSON.parse does", () => {
  const bytes = fc.oneof(
    fc.constantFrom(...Buffer.from('{}[]",:\\ \n\t0123eE+-.truefalsnNI\u0000\u001f\u007f')),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(jsonText, fc.nat(), bytes, fc.constantFrom("change", "remove", "insert"), (json, at, byte, how) => {
      const body = Buffer.from(json);
      const i = at % (body.length + 1);
      const rest = body.subarray(how === "insert" ? i : i + 1);
      agrees(Buffer.concat([body.subarray(0, i), how === "remove" ? Buffer.of() : Buffer.of(byte), rest]));
    }),
    { numRuns: 5_000 },
  );
});

test("every beginning of a text is read as JSON.parse does", () => {
  fc.assert(
    fc.property(jsonText, (json) => {
      const body = Buffer.from(json);
      for (let end = 0; end < Math.min(body.length, 120); end++) agrees(body.subarray(0, end));
    }),
    { numRuns: 100 },
  );
});

test.each([
  { name: "a long text with one control character", body: `{"prompt":"${"x".repeat(1_000)}\u0001${"x".repeat(100)}","model":"m"}` },
  { name: "a long text with escapes", body: `{"prompt":"${'x\\"\\\\\\n'.repeat(1_000)}","model":"m"}` },
  { name: "a long text with bytes above 0x7f", body: `{"prompt":"${"é模😀".repeat(1_000)}","model":"m"}` },
  { name: "a deep nest", body: `{"x":${"[".repeat(50_000)}${"]".repeat(50_000)},"model":"m"}` },
  { name: "a deep nest of objects", body: `{"x":${'{"model":'.repeat(5_000)}1${"}".repeat(5_000)},"model":"m"}` },
  { name: "a nest that closes wrongly", body: `{"x":${"[".repeat(500)}${"]".repeat(499)}},"model":"m"}` },
  { name: "a huge number", body: `{"n":${"9".repeat(100_000)}e${"9".repeat(100)},"model":"m"}` },
  { name: "a leading zero", body: '{"n":01,"model":"m"}' },
  { name: "a lone minus", body: '{"n":-,"model":"m"}' },
  { name: "a lone dot", body: '{"n":1.,"model":"m"}' },
  { name: "a lone exponent", body: '{"n":1e,"model":"m"}' },
  { name: "a model that is NaN", body: '{"model":NaN}' },
  ...[
    "NaN",
    "[Infinity, -Infinity]",
    "-NaN",
    "nan",
    "Na",
    "+Infinity",
    "--Infinity",
    "-Infinit",
    "InfinityNaN",
    "NaN1",
    "1NaN",
    "-Infinity0",
  ].map((value) => ({ name: value, body: `{"n":${value},"model":"m"}` })),
  { name: "a comma too many", body: '{"model":"m",}' },
  { name: "a comma too many in an array", body: '{"n":[1,],"model":"m"}' },
  { name: "half a literal", body: '{"n":nul,"model":"m"}' },
  { name: "a literal at the end", body: "tru" },
  { name: "an overlong escape", body: '{"model":"\\u00"}' },
  { name: "half a pair of surrogates", body: '{"model":"\\ud83d"}' },
])("$name", ({ body }) => {
  agrees(body);
});

test("numbers that only Python's parser takes are numbers", () => {
  for (const value of ["NaN", "Infinity", "-Infinity"]) {
    expect(scanned(Buffer.from(`{"t": ${value},"x":[${value} ],"model":"m"}`))).toEqual({ string: "m" });
    expect(scanJson(Buffer.from(`{"model":${value}}`), "model")).toEqual({ kind: "other", was: "a number" });
  }
  expect(scanned(Buffer.from('{"t":-NaN,"model":"m"}'))).toBe("invalid");
});

test("bytes that are not UTF-8 are refused wherever they stand", () => {
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe6, 0xa8]]) {
    agrees(Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from(bytes), Buffer.from('","model":"m"}')]));
  }
});

import { expect, test } from "vitest";
import { modelInJson } from "./json.ts";
import { modelInMultipart } from "./multipart.ts";
import type { ModelInBody } from "./types.ts";

/** The model, or status and code (or else message) of the refusal. */
function short(found: ModelInBody): unknown {
  if ("model" in found) return found.model;
  const { error } = JSON.parse(found.refused.body) as { error: { code: string | null; message: string } };
  return [found.refused.status, error.code ?? error.message];
}

test.each([
  { name: "a model", body: '{"model":"m","prompt":"x"}', want: "m" },
  { name: "a model after much else", body: '{"messages":[{"model":"x"}],"model":"m"}', want: "m" },
  { name: "the last of two", body: '{"model":"a","model":"m"}', want: "m" },
  { name: "escapes", body: '{"mod\\u0065l":"\\u006d\\n"}', want: "m\n" },
  { name: "UTF-8", body: '{"model":"größe-模型"}', want: "größe-模型" },
  { name: "white space", body: ' \r\n\t{ "model" : "m" } \n', want: "m" },
  { name: "a nested model only", body: '{"x":{"model":"m"}}', want: [400, "missing_required_parameter"] },
  { name: "a model of the prototype", body: '{"__proto__":{"model":"m"}}', want: [400, "missing_required_parameter"] },
  { name: "an empty name", body: '{"model":""}', want: [400, "invalid_type"] },
  { name: "null", body: '{"model":null}', want: [400, "invalid_type"] },
  { name: "an array", body: '{"model":["m"]}', want: [400, "invalid_type"] },
  { name: "two values", body: '{"model":"m"}{}', want: [400, expect.stringContaining("not valid JSON")] },
  { name: "a byte order mark", body: '\ufeff{"model":"m"}', want: [400, expect.stringContaining("not valid JSON")] },
  { name: "text", body: "model=m", want: [400, expect.stringContaining("not valid JSON")] },
  { name: "a string", body: '"model"', want: [400, expect.stringContaining("a string where a JSON object is needed")] },
  { name: "a top-level null", body: "null", want: [400, expect.stringContaining("null where")] },
  { name: "a top-level array", body: "[]", want: [400, expect.stringContaining("an array where")] },
])("JSON with $name", ({ body, want }) => {
  expect(short(modelInJson(Buffer.from(body)))).toEqual(want);
});

test("JSON that is not UTF-8 is refused", () => {
  expect(short(modelInJson(Buffer.from([...Buffer.from('{"model":"'), 0xff, ...Buffer.from('"}')])))).toEqual([
    400,
    expect.stringContaining("not UTF-8"),
  ]);
});

test("a refusal repeats nothing of the prompt", () => {
  const found = modelInJson(Buffer.from('{"model":"m","prompt":"my secret'));
  expect(JSON.stringify(found)).not.toContain("secret");
});

const TYPE = 'multipart/form-data; boundary="b b"';
const file = (content: string): string =>
  `--b b\r\nContent-Disposition: form-data; name="file"; filename="model.wav"\r\nContent-Type: audio/wav\r\n\r\n${content}\r\n`;
const field = (name: string, value: string): string => `--b b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const END = "--b b--\r\n";

test.each([
  { name: "a model", body: `${file("x")}${field("model", "m")}${END}`, want: "m" },
  { name: "a model first", body: `${field("model", "m")}${file("x")}${END}`, want: "m" },
  { name: "the last of two", body: `${field("model", "a")}${field("model", "m")}${END}`, want: "m" },
  { name: "an unquoted name", body: `--b b\r\ncontent-disposition:form-data;name=model\r\n\r\nm\r\n${END}`, want: "m" },
  { name: "a file that looks like a field", body: `${file('\r\nname="model"\r\n\r\nx')}${field("model", "m")}${END}`, want: "m" },
  { name: "no model", body: `${file("x")}${END}`, want: [400, "missing_required_parameter"] },
  { name: "a name that only ends in model", body: `${field("xmodel", "m")}${END}`, want: [400, "missing_required_parameter"] },
  { name: "an empty model", body: `${field("model", "")}${END}`, want: [400, "invalid_type"] },
  {
    name: "a model that is a file",
    body: `--b b\r\nContent-Disposition: form-data; name="model"; filename="x"\r\n\r\nm\r\n${END}`,
    want: [400, "invalid_type"],
  },
  { name: "a cut body", body: `${field("model", "m")}--b b\r\nContent-Disp`, want: [400, expect.stringContaining("cut short")] },
  { name: "no end", body: field("model", "m").slice(0, -2), want: [400, expect.stringContaining("cut short")] },
  { name: "another boundary", body: "--other\r\n", want: [400, expect.stringContaining("does not begin")] },
  { name: "no body to speak of", body: "", want: [400, expect.stringContaining("does not begin")] },
  { name: "a boundary run on", body: "--b bx\r\n", want: [400, expect.stringContaining("new line")] },
  ...[
    'form-data; name = "model"',
    'form-data; foo="; name=y"; name="model"; name="x"',
    'form-data; name="model\\"; name="x"',
    "form-data; name=model; NAME=x",
    "form-data",
    "attachment; name=model",
    'form-data; name="model',
    'form-data; name="x"\r\nContent-Disposition: form-data; name="model"',
    'form-data; name="x"\r\n ; name="model"',
    'form-data; name="x"\r\nno header',
    "form-data; name=\"x\"; name*=utf-8''model",
    'form-data; name="x"; name*0=model',
    "form-data; name=\"x\"; filename*0*=utf-8''a",
  ].map((disposition) => ({
    name: `the disposition ${JSON.stringify(disposition)}`,
    body: `${field("model", "m")}--b b\r\nContent-Disposition: ${disposition}\r\n\r\ny\r\n${END}`,
    want: [400, expect.stringContaining("content-disposition")],
  })),
  {
    name: "a file whose name has an encoding of its own",
    body: `--b b\r\nContent-Disposition: form-data; name="file"; filename*=utf-8''%c3%a9.wav\r\n\r\ny\r\n${field("model", "m")}${END}`,
    want: "m",
  },
  {
    name: "a file whose name has backslashes and semicolons",
    body: `--b b\r\nContent-Disposition: form-data; name="file"; filename="C:\\a; name=x.wav"\r\n\r\ny\r\n${field("model", "m")}${END}`,
    want: "m",
  },
])("a form with $name", ({ body, want }) => {
  expect(short(modelInMultipart(Buffer.from(body), TYPE))).toEqual(want);
});

test.each([
  { type: "multipart/form-data; boundary=abc", ok: true },
  { type: "Multipart/Form-Data; charset=utf-8; Boundary=abc", ok: true },
  { type: "multipart/form-data; charset=utf-7; boundary=abc", ok: false },
  { type: "multipart/form-data; boundary=abc; boundary=x", ok: false },
  { type: "multipart/form-data; boundary = abc", ok: false },
  { type: "multipart/form-datax; boundary=abc", ok: false },
  { type: "multipart/form-data", ok: false },
  { type: "application/json", ok: false },
  { type: "", ok: false },
])("content-type $type", ({ type, ok }) => {
  const body = Buffer.from('--abc\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--abc--\r\n');
  expect("model" in modelInMultipart(body, type)).toBe(ok);
});

test("a real client's form is read", async () => {
  const form = new FormData();
  form.append("file", new Blob([Buffer.alloc(10_000, "\r\n--")]), "a.wav");
  form.append("model", "größe");
  const request = new Request("http://x", { method: "POST", body: form });
  const body = Buffer.from(await request.arrayBuffer());
  expect(modelInMultipart(body, request.headers.get("content-type") ?? "")).toEqual({ model: "größe" });
});

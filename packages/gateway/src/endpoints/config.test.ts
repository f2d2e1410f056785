import { expect, test } from "vitest";
import { parseEndpoints } from "./config.ts";

test("reads every field", () => {
  const text = `
engines:
- engine: http://127.0.0.1:8000
  runtime: http://localhost:8080/
  models: [base]
- engine: http://[::1]:9000/
  apiKeyFile: keys/engine
- engine: http://gpu.example
`;
  expect(parseEndpoints(text, "/etc/aibrix/endpoints.yaml")).toEqual([
    { engine: "http://127.0.0.1:8000", host: "127.0.0.1", port: 8000, runtime: "http://localhost:8080", models: ["base"] },
    { engine: "http://[::1]:9000", host: "::1", port: 9000, models: [], apiKeyFile: "/etc/aibrix/keys/engine" },
    { engine: "http://gpu.example", host: "gpu.example", port: 80, models: [] },
  ]);
});

test("an empty list is fine", () => {
  expect(parseEndpoints("engines: []", "f")).toEqual([]);
});

test.each([
  { name: "broken YAML", text: "engines: [", want: "f: not valid YAML" },
  { name: "nothing", text: "", want: "f: top level" },
  { name: "another top level", text: "endpoints: []", want: "f: top level" },
  { name: "no engine", text: "engines: [{runtime: 'http://x:1'}]", want: "f: engines[0]" },
  { name: "an unknown field", text: "engines: [{engine: 'http://x:1', runtimes: y}]", want: "(runtimes)" },
  {
    name: "an https engine",
    text: "engines: [{engine: 'https://x:1'}]",
    want: "f: engines[0].engine: write http://HOST:PORT, without a path",
  },
  { name: "an engine with a path", text: "engines: [{engine: 'http://x:1/v1'}]", want: "f: engines[0].engine: write" },
  { name: "an engine that is no URL", text: "engines: [{engine: '127.0.0.1:8000'}]", want: "f: engines[0].engine: write" },
  { name: "a runtime that is no URL", text: "engines: [{engine: 'http://x:1', runtime: x}]", want: "f: engines[0].runtime: write" },
  {
    name: "a key that nobody reads",
    text: "engines: [{engine: 'http://x:1', runtime: 'http://x:2', apiKeyFile: k}]",
    want: "f: engines[0].apiKeyFile",
  },
  {
    name: "an engine twice",
    text: "engines: [{engine: 'http://x:1'}, {engine: 'http://x:1/'}]",
    want: "f: engines[1].engine: the same as engines[0].engine",
  },
  { name: "models that are no list", text: "engines: [{engine: 'http://x:1', models: a}]", want: "f: engines[0].models" },
])("refuses $name", ({ text, want }) => {
  expect(() => parseEndpoints(text, "f")).toThrow(want);
});

test("a refusal does not repeat a password", () => {
  expect(() => parseEndpoints("engines: [{engine: 'http://u:s3cret@x:1'}]", "f")).toThrow(
    /^f: engines\[0\]\.engine: write http:\/\/HOST:PORT, without a path$/,
  );
});

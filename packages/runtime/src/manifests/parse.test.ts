import { expect, test } from "vitest";
import { type FileContent, parseManifests } from "./parse.ts";

const adapter = (name: string, extra = "") => `
apiVersion: model.aibrix.ai/v1alpha1
kind: ModelAdapter
metadata:
  name: ${name}
spec:
  podSelector:
    matchLabels:
      model.aibrix.ai/name: base
  artifactURL: /models/${name}
${extra}`;

const parse = (text: string, before?: FileContent) => parseManifests(before, "/d/a.yaml", "1", text);
const names = (content: FileContent) => content.adapters.map((a) => a.name);

test("reads several documents, and ignores what is not ours", () => {
  const text = [adapter("a"), "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}", "", adapter("b"), "# only a comment"].join(
    "\n---\n",
  );
  const content = parse(text);
  expect(names(content)).toEqual(["a", "b"]);
  expect(content.problems).toEqual([]);
  expect(content.adapters.map((a) => [a.key, a.namespace, a.line])).toEqual([
    ["/d/a.yaml#default/a#0", "default", 2],
    ["/d/a.yaml#default/b#0", "default", 20],
  ]);
});

test("reads JSON, and a List as kubectl writes it", () => {
  const object = {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name: "a", namespace: "ns" },
    spec: { podSelector: { matchLabels: { a: "b" } }, artifactURL: "/m" },
  };
  expect(names(parse(JSON.stringify(object)))).toEqual(["a"]);
  expect(parse(JSON.stringify({ apiVersion: "v1", kind: "List", items: [object] })).adapters[0]?.namespace).toBe("ns");
});

test("reads Secrets, encoded and plain", () => {
  const text = 'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: "aGVsbG8=", b: b2xk}\nstringData: {b: new}';
  expect(parse(text).secrets).toEqual([{ file: "/d/a.yaml", namespace: "default", name: "s", data: { a: "hello", b: "new" } }]);
});

test("two of one name in a file are told apart", () => {
  expect(parse(`${adapter("a")}---${adapter("a")}`).adapters.map((a) => a.key)).toEqual(["/d/a.yaml#default/a#0", "/d/a.yaml#default/a#1"]);
});

test.each([
  { name: "a tab", text: "a:\n\t- b", says: /^line 2, column 1: .*mend the YAML/ },
  { name: "a bracket without end", text: "a: [1, 2", says: /^line 1, column 9: Flow sequence in block collection must be .*mend the YAML/ },
  { name: "a key twice", text: "a: 1\na: 2", says: /^line 2, column 1: .*unique/ },
  { name: "a list", text: "- a", says: /^line 1: not a manifest/ },
  { name: "an alias without anchor", text: "kind: *x", says: /^line 1/ },
  { name: "a second document that is broken", text: `${adapter("a")}---\nb: "`, says: /^line 12, column/ },
])("a file with $name changes nothing but its problem", ({ text, says }) => {
  const before = parse(adapter("old"));
  const content = parse(text, before);
  expect(names(content)).toEqual(["old"]);
  expect(content.problems).toEqual([{ file: "/d/a.yaml", reason: "InvalidManifest", message: expect.stringMatching(says) }]);
  expect(names(parse(text))).toEqual([]);
});

test("a kind with a slip is told, another project's kind is none of our business", () => {
  const slip = parse(adapter("a").replace("kind: ModelAdapter", "kind: ModelAdaptor"));
  expect(slip.problems).toEqual([
    { file: "/d/a.yaml", name: "a", reason: "InvalidManifest", message: expect.stringMatching(/write kind: ModelAdapter/) },
  ]);
  expect(parse("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}").problems).toEqual([]);
});

test("a broken Secret is not repeated in the problem", () => {
  const values = [
    '"sk-secret" "x"',
    "*sk-secret",
    "|sk-secret",
    '"\\psk-secret"',
    '"sk-secret',
    "'sk-secret' sk-secret",
    "[sk-secret",
    "%sk-secret: x",
  ];
  const broken = values.map((value) => `kind: Secret\nmetadata: {name: s}\nstringData:\n  key: ${value}`);
  const wrong = ["data: {key: sk-secret}", "stringData: {key: 1234567}"].map((rest) => `kind: Secret\nmetadata: {name: s}\n${rest}`);
  for (const text of [...broken, ...wrong]) {
    const { problems } = parse(text);
    expect(problems, text).toHaveLength(1);
    expect(JSON.stringify(problems)).not.toMatch(/sk-secret|1234567/);
  }
});

test("a Secret's annotation names the hosts that it may be sent to", () => {
  const secret = (annotations: string) => parse(`{kind: Secret, metadata: {name: s, annotations: ${annotations}}, stringData: {k: v}}`);
  expect(secret('{model.aibrix.ai/allowed-hosts: "a.example, *.b"}').secrets).toMatchObject([{ hosts: ["a.example", "*.b"] }]);
  expect(secret("{}").secrets).toMatchObject([{ hosts: undefined }]);
  for (const bad of ["{model.aibrix.ai/allowed-hosts: 7}", "{model.aibrix.ai/allowed-hosts: https://a}"]) {
    expect(secret(bad).secrets).toEqual([]);
    expect(secret(bad).problems[0]?.message).toContain("the annotation model.aibrix.ai/allowed-hosts");
  }
});

test("an empty file is a problem where it declared something, and nothing else", () => {
  const before = parse(adapter("old"));
  expect(names(parse(" \n", before))).toEqual(["old"]);
  expect(parse(" \n", before).problems[0]?.message).toContain("delete it");
  expect(parse("")).toEqual({ adapters: [], secrets: [], problems: [] });
  expect(names(parse("# taken out", before))).toEqual([]);
});

test("an object that became invalid stays as it was; one that is gone is gone", () => {
  const before = parse(`${adapter("a")}---${adapter("b")}`);
  const content = parse(adapter("a").replace("/models/a", "ftp://x"), before);
  expect(content.adapters.map((a) => a.adapter.spec.artifactURL)).toEqual(["/models/a"]);
  expect(content.problems).toEqual([
    {
      file: "/d/a.yaml",
      name: "a",
      reason: "InvalidManifest",
      message: expect.stringMatching(/^line 2: spec.artifactURL: .*huggingface:/),
    },
  ]);
});

test.each([
  { name: "no kind", text: "metadata: {name: a}", says: "write kind: ModelAdapter" },
  { name: "another version", text: adapter("a").replace("v1alpha1", "v9"), says: "write apiVersion" },
  { name: "a misspelt field", text: adapter("a", "  replica: 2"), says: "spec.replica: is not a field" },
  { name: "a name that no Service may have", text: adapter("a.b"), says: "metadata.name" },
  {
    name: "two keys",
    text: adapter("a", "  additionalConfig: {api-key: sk-secret}\n  apiKeySecretRef: {name: s, key: k}"),
    says: "keep one",
  },
])("tells what is wrong with an object: $name", ({ text, says }) => {
  const { adapters, problems } = parse(text);
  expect(adapters).toEqual([]);
  expect(problems[0]?.message).toContain(says);
  expect(JSON.stringify(problems)).not.toContain("sk-secret");
});

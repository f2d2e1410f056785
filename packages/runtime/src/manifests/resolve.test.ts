import { expect, test } from "vitest";
import { type FileContent, parseManifests } from "./parse.ts";
import { resolveManifests, type Surroundings } from "./resolve.ts";

interface Options {
  readonly namespace?: string;
  readonly selector?: object;
  readonly spec?: object;
}

function adapter(
  name: string,
  { namespace = "default", selector = { matchLabels: { "model.aibrix.ai/name": "base" } }, spec = {} }: Options = {},
) {
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name, namespace },
    spec: { podSelector: selector, artifactURL: `/models/${name}`, ...spec },
  };
}
const secret = (name: string, stringData: object, namespace = "default") => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, namespace },
  stringData,
});

function file(path: string, ...objects: object[]): FileContent {
  return parseManifests(undefined, path, "1", objects.map((o) => JSON.stringify(o)).join("\n---\n"));
}

const around: Surroundings = {
  podLabels: {},
  baseModels: ["base"],
  engineProblem: { reason: "EngineUnavailable", message: "away" },
  ownedByApi: () => false,
  serving: () => undefined,
  restored: () => false,
};

const NAME = "model.aibrix.ai/name";

test.each<{ name: string; selector: object; around: Partial<Surroundings>; want: "declared" | "not for us" | "held" }>([
  { name: "a base model's name", selector: { matchLabels: { [NAME]: "base" } }, around: {}, want: "declared" },
  { name: "another base model", selector: { matchLabels: { [NAME]: "other" } }, around: {}, want: "not for us" },
  { name: "any of the engine's names", selector: { matchLabels: { [NAME]: "b" } }, around: { baseModels: ["a", "b"] }, want: "declared" },
  {
    name: "an expression",
    selector: { matchExpressions: [{ key: NAME, operator: "In", values: ["base", "x"] }] },
    around: {},
    want: "declared",
  },
  {
    name: "a label of the pod",
    selector: { matchLabels: { [NAME]: "base", tier: "gpu" } },
    around: { podLabels: { tier: "gpu" } },
    want: "declared",
  },
  { name: "a label that the pod has not", selector: { matchLabels: { [NAME]: "base", tier: "gpu" } }, around: {}, want: "not for us" },
  {
    name: "the name that was given, not the engine's",
    selector: { matchLabels: { [NAME]: "given" } },
    around: { podLabels: { [NAME]: "given" } },
    want: "declared",
  },
  {
    name: "the engine's name where another was given",
    selector: { matchLabels: { [NAME]: "base" } },
    around: { podLabels: { [NAME]: "given" } },
    want: "not for us",
  },
  {
    name: "a pod that is switched off",
    selector: { matchLabels: { [NAME]: "base" } },
    around: { podLabels: { "adapter.model.aibrix.ai/enabled": "false" } },
    want: "not for us",
  },
  {
    name: "an engine that has not told its names",
    selector: { matchLabels: { [NAME]: "base" } },
    around: { baseModels: [] },
    want: "held",
  },
  {
    name: "a given name, whatever the engine tells",
    selector: { matchLabels: { [NAME]: "given" } },
    around: { podLabels: { [NAME]: "given" }, baseModels: [] },
    want: "declared",
  },
  {
    name: "labels that have nothing to do with the engine",
    selector: { matchLabels: { tier: "gpu" } },
    around: { podLabels: { tier: "gpu" }, baseModels: [] },
    want: "declared",
  },
])("selects by $name: $want", ({ selector, around: more, want }) => {
  const resolved = resolveManifests([file("/a", adapter("x", { selector }))], { ...around, ...more });
  const declaration = resolved.declarations.get("x");
  expect(declaration === undefined ? "not for us" : declaration.hold === undefined ? "declared" : "held").toBe(want);
  expect(resolved.problems).toEqual(
    want === "not for us" ? [{ file: "/a", name: "x", reason: "NotSelected", message: expect.stringMatching(/^podSelector \{.*: /) }] : [],
  );
});

const OTHER_MODEL = "write the name of a base model that an engine serves, or start an engine that serves it";
const OTHER_LABELS = "select by labels that the engine has, or give its runtime the missing ones with --pod-label";

test.each<{ name: string; selector: object; around: Partial<Surroundings>; says: string }>([
  {
    name: "another base model",
    selector: { matchLabels: { [NAME]: "other" } },
    around: {},
    says: `podSelector {${NAME}: other} does not match the labels of this engine (${NAME}: base): ${OTHER_MODEL}`,
  },
  {
    name: "an engine of two names",
    selector: { matchExpressions: [{ key: NAME, operator: "In", values: ["x", "y"] }] },
    around: { baseModels: ["a", "b"] },
    says: `podSelector {${NAME} In (x, y)} does not match the labels of this engine (${NAME}: a or b): ${OTHER_MODEL}`,
  },
  {
    name: "the name that was given to the engine",
    selector: { matchLabels: { [NAME]: "base" } },
    around: { podLabels: { [NAME]: "given" } },
    says: `podSelector {${NAME}: base} does not match the labels of this engine (${NAME}: given): ${OTHER_MODEL}`,
  },
  {
    name: "another label that is missing",
    selector: { matchLabels: { [NAME]: "base" }, matchExpressions: [{ key: "tier", operator: "Exists" }] },
    around: { podLabels: { zone: "a" } },
    says: `podSelector {${NAME}: base, tier Exists} does not match the labels of this engine (zone: a, ${NAME}: base): ${OTHER_LABELS}`,
  },
  {
    name: "an engine without any label",
    selector: { matchLabels: { tier: "gpu" } },
    around: { baseModels: [] },
    says: `podSelector {tier: gpu} does not match the labels of this engine (none): ${OTHER_LABELS}`,
  },
  {
    name: "an engine that is switched off",
    selector: { matchLabels: { [NAME]: "base" } },
    around: { podLabels: { "adapter.model.aibrix.ai/enabled": "false" } },
    says: `podSelector {${NAME}: base} does not match this engine, which takes no adapters (adapter.model.aibrix.ai/enabled: false): start its runtime without this --pod-label`,
  },
])("a selector that does not match is told with cause and remedy: $name", ({ selector, around: more, says }) => {
  const { problems } = resolveManifests([file("/a", adapter("x", { selector }))], { ...around, ...more });
  expect(problems.map((p) => p.message)).toEqual([says]);
});

test("takes what a ModelAdapter says", () => {
  const { declarations } = resolveManifests(
    [file("/a", adapter("x", { spec: { baseModel: "base", additionalConfig: { "api-key": "k" }, replicas: 3, schedulerName: "random" } }))],
    around,
  );
  expect(declarations.get("x")).toEqual({
    name: "x",
    url: "/models/x",
    credentials: {},
    apiKey: "k",
    origin: "manifest",
    lacksKey: false,
    restored: false,
    revision: "/a#default/x#0@1",
    hold: undefined,
    baseModel: "base",
  });
});

const withSecrets = { credentialsSecretRef: { name: "store" }, apiKeySecretRef: { name: "engine", key: "k" } };

test("takes credentials and key from Secrets of the same namespace, in any file", () => {
  const files = [
    file("/a", adapter("x", { spec: withSecrets })),
    file("/b", secret("store", { huggingface_token: "hf" }), secret("engine", { k: "sk" })),
  ];
  expect(resolveManifests(files, around).declarations.get("x")).toMatchObject({
    credentials: { huggingface_token: "hf" },
    apiKey: "sk",
    hold: undefined,
  });
});

test.each([
  { name: "no Secret", secrets: [], says: "Secret default/engine, which apiKeySecretRef names, is not in the adapters folder" },
  {
    name: "one of another namespace",
    secrets: [secret("engine", { k: "sk" }, "other"), secret("store", { huggingface_token: "t" })],
    says: "Secret default/engine",
  },
  {
    name: "one without the key",
    secrets: [secret("engine", { other: "sk" }), secret("store", { huggingface_token: "t" })],
    says: 'has no key "k"',
  },
  {
    name: "no Secret for the storage",
    secrets: [secret("engine", { k: "sk" })],
    says: "Secret default/store, which credentialsSecretRef names",
  },
  {
    name: "one for the storage that says nothing of it",
    secrets: [secret("engine", { k: "sk" }), secret("store", { password: "p" })],
    says: "none of the keys aws_access_key_id",
  },
])("holds an adapter with $name", ({ secrets, says }) => {
  const { declarations } = resolveManifests([file("/a", adapter("x", { spec: withSecrets }), ...secrets)], around);
  const hold = declarations.get("x")?.hold;
  expect(hold).toMatchObject({ reason: "SecretNotFound", message: expect.stringContaining(says) });
});

const twice = [
  file("/a.yaml", adapter("x", { spec: { artifactURL: "/first" } })),
  file("/b.yaml", adapter("x", { namespace: "other", spec: { artifactURL: "/second" } })),
];

test("of two with one name the first file's counts, and the other is told of both", () => {
  const { declarations, problems } = resolveManifests(twice, around);
  expect(declarations.get("x")?.url).toBe("/first");
  expect(problems).toEqual([
    { file: "/b.yaml", name: "x", reason: "DuplicateName", message: expect.stringMatching(/\/b\.yaml.*\/a\.yaml/) },
  ]);
});

test("of two with one name the one that serves keeps it", () => {
  const { declarations, problems } = resolveManifests(twice, { ...around, serving: () => "/b.yaml#other/x#0" });
  expect(declarations.get("x")?.url).toBe("/second");
  expect(problems).toMatchObject([{ file: "/a.yaml", reason: "DuplicateName" }]);
});

test("one that is not for this engine takes no name from one that is", () => {
  const files = [file("/a.yaml", adapter("x", { selector: { matchLabels: { [NAME]: "other" } } })), file("/b.yaml", adapter("x"))];
  const { declarations, problems } = resolveManifests(files, around);
  expect(declarations.has("x")).toBe(true);
  expect(problems).toMatchObject([{ file: "/a.yaml", reason: "NotSelected" }]);
});

test("a name that a call to the API owns is left to it", () => {
  const { declarations, problems } = resolveManifests(twice, { ...around, ownedByApi: () => true });
  expect(declarations.size).toBe(0);
  expect(problems.map((p) => p.reason)).toEqual(["NameConflict", "NameConflict"]);
});

test("the same Secret twice is told", () => {
  const files = [file("/a", secret("s", { a: "1" })), file("/b", secret("s", { a: "2" }))];
  expect(resolveManifests(files, around).problems).toMatchObject([{ file: "/b", name: "s", reason: "DuplicateName" }]);
});

const PIN = "0123456789abcdef".repeat(4);

test.each([
  { name: "is written at the URL's end", url: "/models/a", want: { url: `/models/a#sha256=${PIN}`, hold: undefined } },
  {
    name: "that the URL contradicts is told, and nothing is fetched",
    url: `/models/a#sha256=${"f".repeat(64)}`,
    want: { hold: { reason: "InvalidArtifactURL", message: expect.stringContaining("name two digests") } },
  },
])("a pin in the annotation $name", ({ url, want }) => {
  const manifest = adapter("a", { spec: { artifactURL: url } });
  const annotated = { ...manifest, metadata: { ...manifest.metadata, annotations: { "model.aibrix.ai/artifact-sha256": PIN } } };
  expect(resolveManifests([file("a.yaml", annotated)], around).declarations.get("a")).toMatchObject(want);
});

import { expect, test } from "vitest";
import { validateModelAdapter } from "./validate.ts";

const SEED = {
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: {
    name: "qwen-code-lora",
    namespace: "default",
    labels: { "model.aibrix.ai/name": "qwen-code-lora", "model.aibrix.ai/port": "8000" },
  },
  spec: {
    baseModel: "qwen-coder-1-5b-instruct",
    podSelector: { matchLabels: { "model.aibrix.ai/name": "qwen-coder-1-5b-instruct" } },
    artifactURL: "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora",
    schedulerName: "default",
  },
};

function withSpec(spec: Record<string, unknown>): unknown {
  return JSON.parse(JSON.stringify({ ...SEED, spec: { ...SEED.spec, ...spec } }));
}

test("takes the documented manifest and fills in defaults", () => {
  const { schedulerName: _, ...spec } = SEED.spec;
  expect(validateModelAdapter({ ...SEED, spec })).toEqual({ adapter: SEED });
});

test.each([
  { name: "replicas left out for every pod", given: withSpec({}) },
  { name: "replicas 2", given: withSpec({ replicas: 2 }) },
  { name: "hf:// with a revision", given: withSpec({ artifactURL: "hf://acme/sql-lora@main" }) },
  { name: "s3:// with a final slash", given: withSpec({ artifactURL: "s3://models/sql-lora/" }) },
  { name: "an absolute path", given: withSpec({ artifactURL: "/models/yard1/llama-2-7b-sql-lora-test" }) },
  { name: "matchExpressions alone", given: withSpec({ podSelector: { matchExpressions: [{ key: "tier", operator: "Exists" }] } }) },
  { name: "an api-key in additionalConfig", given: withSpec({ additionalConfig: { "api-key": "sk-x" } }) },
  { name: "fields of the server", given: { ...SEED, metadata: { ...SEED.metadata, uid: "x", resourceVersion: "1", managedFields: [] } } },
])("accepts $name", ({ given }) => {
  expect(validateModelAdapter(given).problems).toBeUndefined();
});

test.each([
  { name: "another kind", given: { ...SEED, kind: "Deployment" }, want: ["kind: write kind: ModelAdapter"] },
  { name: "another version", given: { ...SEED, apiVersion: "v1" }, want: ["apiVersion: write apiVersion: model.aibrix.ai/v1alpha1"] },
  { name: "a text", given: "hello", want: ["kind: write kind: ModelAdapter"] },
  { name: "nothing", given: null, want: ["kind: write kind: ModelAdapter"] },
  {
    name: "a dot in the name",
    given: { ...SEED, metadata: { name: "qwen.lora" } },
    want: [/^metadata.name: .*without dots, for example qwen-code-lora/],
  },
  { name: "a name that is too long", given: { ...SEED, metadata: { name: "a".repeat(64) } }, want: [/^metadata.name: .*at most 63/] },
  {
    name: "ftp://",
    given: withSpec({ artifactURL: "ftp://x" }),
    want: [/^spec.artifactURL: .*no known kind: write huggingface:.*; hf:\/\/, gcs:\/\/ and http:\/\/ are taken, too/],
  },
  { name: "a bucket name that is too short", given: withSpec({ artifactURL: "gs://b/p" }), want: [/form gs:\/\/BUCKET\/PREFIX/] },
  { name: "a file that is no archive", given: withSpec({ artifactURL: "https://h/x.txt" }), want: [/form https:\/\/HOST\/PATH\.tar\.gz/] },
  { name: "a pin that is too short", given: withSpec({ artifactURL: "hf://a/b#sha256=ab" }), want: [/with or without #sha256=DIGEST/] },
  {
    name: "a password in a URL",
    given: withSpec({ artifactURL: "https://me:hunter2@host/x.zip" }),
    want: [/^spec.artifactURL: .*into a Secret and name it in credentialsSecretRef/],
  },
  { name: "a Hub name without a repository", given: withSpec({ artifactURL: "hf://acme" }), want: [/form huggingface:\/\/ORG\/REPO/] },
  { name: "a bucket without a prefix", given: withSpec({ artifactURL: "s3://models" }), want: [/form s3:\/\/BUCKET\/PREFIX/] },
  { name: "a path that walks up", given: withSpec({ artifactURL: "/models/../etc" }), want: [/form \/ABSOLUTE\/PATH/] },
  { name: "a prefix that walks up", given: withSpec({ artifactURL: "s3://models/../x" }), want: [/form s3:/] },
  { name: "replicas 0", given: withSpec({ replicas: 0 }), want: [/^spec: replicas must be 1 or more: leave it out/] },
  { name: "an empty selector", given: withSpec({ podSelector: {} }), want: [/^spec.podSelector: .*would match every pod/] },
  {
    name: "empty matchLabels",
    given: withSpec({ podSelector: { matchLabels: {} } }),
    want: [/^spec.podSelector: .*would match every pod/],
  },
  {
    name: "In without values",
    given: withSpec({ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }),
    want: [/^spec.podSelector.matchExpressions\[0\]: In and NotIn need values/],
  },
  {
    name: "both kinds of api-key",
    given: withSpec({ additionalConfig: { "api-key": "a" }, apiKeySecretRef: { name: "s", key: "k" } }),
    want: [/^spec: additionalConfig.api-key and apiKeySecretRef both/],
  },
  { name: "no artifactURL", given: withSpec({ artifactURL: undefined }), want: ["spec.artifactURL: is required"] },
  { name: "a field with a slip", given: withSpec({ artifactUrl: "x" }), want: [/^spec.artifactUrl: is not a field/] },
  {
    name: "an unknown scheduler",
    given: withSpec({ schedulerName: "best" }),
    want: [/^spec.schedulerName: must be one of default, least-adapters/],
  },
  {
    name: "a canary without its steps",
    given: withSpec({ rollout: { strategy: "Canary" } }),
    want: [/^spec.rollout: strategy Canary and canary belong together/],
  },
  {
    name: "weights that fall, and no threshold",
    given: withSpec({ rollout: { strategy: "Canary", canary: { steps: [{ weight: 9 }, { weight: 5 }], abortOn: {} } } }),
    want: [/^spec.rollout.canary.steps: .*may not fall/, /^spec.rollout.canary.abortOn: .*needs a threshold/],
  },
  { name: "replicas as text", given: withSpec({ replicas: "2" }), want: [/^spec.replicas: /] },
])("refuses $name", ({ given, want }) => {
  const problems = (validateModelAdapter(given).problems ?? []).map((p) => `${p.field}: ${p.message}`);
  expect(problems).toHaveLength(want.length);
  for (const [i, w] of want.entries()) expect(problems[i]).toMatch(w);
});

test("never repeats a password that was written into an artifactURL", () => {
  const text = JSON.stringify(validateModelAdapter(withSpec({ artifactURL: "https://me:hunter2@host/x" })));
  expect(text).not.toContain("hunter2");
});

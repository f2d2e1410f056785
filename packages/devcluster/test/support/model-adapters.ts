/** A ModelAdapter, and what must be said about it. */
export interface Row {
  readonly name: string;
  readonly object: Record<string, unknown>;
  /** In what both the API server and our own check say; absent where they accept it. */
  readonly refused?: RegExp;
  /** Where the API server's own words, which differ from ours, are just as clear. */
  readonly refusedByServer?: RegExp;
}

const BASE = {
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: { name: "qwen-code-lora", namespace: "default" },
  spec: {
    baseModel: "qwen-coder-1-5b-instruct",
    podSelector: { matchLabels: { "model.aibrix.ai/name": "qwen-coder-1-5b-instruct" } },
    artifactURL: "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora",
  },
};

function spec(fields: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify({ ...BASE, spec: { ...BASE.spec, ...fields } }));
}

function meta(fields: Record<string, unknown>): Record<string, unknown> {
  return { ...BASE, metadata: { ...BASE.metadata, ...fields } };
}

function url(artifactURL: unknown): Record<string, unknown> {
  return spec({ artifactURL });
}

const LONG_URL = `s3://${"a".repeat(63)}/${"b/".repeat(450)}`;

export const ACCEPTED: readonly Row[] = [
  {
    name: "the documented manifest",
    object: meta({ labels: { "model.aibrix.ai/name": "qwen-code-lora", "model.aibrix.ai/port": "8000" } }),
  },
  { name: "replicas left out", object: spec({}) },
  { name: "replicas 1", object: spec({ replicas: 1 }) },
  { name: "replicas 3 and a scheduler", object: spec({ replicas: 3, schedulerName: "bin-pack" }) },
  { name: "hf:// with a revision", object: url("hf://acme/sql-lora@main") },
  { name: "huggingface:// with a commit", object: url("huggingface://acme/sql.lora_v2@0123456789abcdef0123456789abcdef01234567") },
  { name: "s3:// with a final slash", object: url("s3://models/sql-lora/") },
  { name: "an absolute path", object: url("/models/yard1/llama-2-7b-sql-lora-test") },
  { name: "matchExpressions alone", object: spec({ podSelector: { matchExpressions: [{ key: "tier", operator: "Exists" }] } }) },
  { name: "In with values", object: spec({ podSelector: { matchExpressions: [{ key: "tier", operator: "In", values: ["a", "b"] }] } }) },
  { name: "an api-key in additionalConfig", object: spec({ additionalConfig: { "api-key": "sk-x" } }) },
  { name: "an api-key in a Secret", object: spec({ apiKeySecretRef: { name: "engine", key: "api-key" } }) },
  { name: "credentials in a Secret", object: spec({ credentialsSecretRef: { name: "s3.credentials" } }) },
  { name: "a name of 63 characters", object: meta({ name: "a".repeat(63) }) },
  { name: "a dot inside a folder's name", object: url("s3://models/v1.2/lora") },
];

export const REFUSED: readonly Row[] = [
  { name: "a dot in the name", object: meta({ name: "qwen.lora" }), refused: /without dots, for example qwen-code-lora/ },
  { name: "a name that begins with a digit", object: meta({ name: "1qwen" }), refused: /beginning with a letter/ },
  { name: "a name of 64 characters", object: meta({ name: "a".repeat(64) }), refused: /at most 63/ },
  { name: "ftp://", object: url("ftp://x"), refused: /artifactURL is of no known kind: write huggingface:/ },
  { name: "a relative path", object: url("models/x"), refused: /artifactURL is of no known kind/ },
  { name: "an empty artifactURL", object: url(""), refused: /artifactURL/ },
  { name: "a Hub name without a repository", object: url("hf://acme"), refused: /form huggingface:\/\/ORG\/REPO/ },
  { name: "a bucket without a prefix", object: url("s3://models"), refused: /form s3:\/\/BUCKET\/PREFIX/ },
  { name: "a path that walks up", object: url("/models/../etc"), refused: /form \/ABSOLUTE\/PATH/ },
  { name: "a prefix that walks up", object: url("s3://models/../x"), refused: /form s3:/ },
  { name: "a long prefix that walks up at its end", object: url(`${LONG_URL}../x`), refused: /form s3:/ },
  { name: "an artifactURL of 10,000 characters", object: url(`s3://models/${"x".repeat(10_000)}`), refused: /artifactURL/ },
  { name: "no artifactURL", object: url(undefined), refused: /spec\.artifactURL/ },
  { name: "no podSelector", object: spec({ podSelector: undefined }), refused: /spec\.podSelector/ },
  { name: "an empty selector", object: spec({ podSelector: {} }), refused: /would match every pod: name the base model's pods/ },
  { name: "empty matchLabels", object: spec({ podSelector: { matchLabels: {} } }), refused: /would match every pod/ },
  {
    name: "In without values",
    object: spec({ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }),
    refused: /In and NotIn need values/,
  },
  {
    name: "Exists with values",
    object: spec({ podSelector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] } }),
    refused: /Exists and DoesNotExist take none/,
  },
  {
    name: "an unknown operator",
    object: spec({ podSelector: { matchExpressions: [{ key: "a", operator: "Near" }] } }),
    refused: /operator/,
  },
  { name: "replicas 0", object: spec({ replicas: 0 }), refused: /replicas must be 1 or more: leave it out/ },
  { name: "replicas -1", object: spec({ replicas: -1 }), refused: /replicas must be 1 or more/ },
  { name: "replicas as text", object: spec({ replicas: "2" }), refused: /spec\.replicas/ },
  { name: "half a replica", object: spec({ replicas: 1.5 }), refused: /spec\.replicas/ },
  {
    name: "both kinds of api-key",
    object: spec({ additionalConfig: { "api-key": "a" }, apiKeySecretRef: { name: "s", key: "k" } }),
    refused: /additionalConfig\.api-key and apiKeySecretRef both give the engine's API key/,
  },
  { name: "a Secret without a key", object: spec({ apiKeySecretRef: { name: "s" } }), refused: /spec\.apiKeySecretRef\.key/ },
  {
    name: "a Secret's name in capitals",
    object: spec({ credentialsSecretRef: { name: "Secret" } }),
    refused: /spec\.credentialsSecretRef\.name/,
  },
  { name: "an unknown scheduler", object: spec({ schedulerName: "best" }), refused: /spec\.schedulerName.*default.*least-adapters/ },
  {
    name: "a field with a slip",
    object: spec({ artifactUrl: "x" }),
    refused: /spec\.artifactUrl: is not a field/,
    refusedByServer: /unknown field "spec\.artifactUrl"/,
  },
  { name: "no spec", object: { ...BASE, spec: undefined }, refused: /spec/ },
];

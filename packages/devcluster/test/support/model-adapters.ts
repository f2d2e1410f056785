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
  { name: "a folder of a repository", object: url("hf://acme/many@v1.0/sub/a b/") },
  { name: "gs:// with a dotted bucket", object: url("gs://my_models.example.com/sql-lora") },
  { name: "gcs://", object: url("gcs://models/sql-lora/") },
  { name: "a tar.gz", object: url("https://files.example.com:8443/a/sql-lora.tar.gz") },
  { name: "a tgz at an IPv6 address", object: url("http://[fd00::7]/sql-lora.tgz") },
  ...["hf://acme/sql-lora", "s3://models/sql-lora", "gs://models/sql-lora", "https://h/a.zip", "/models/sql-lora"].map((u) => ({
    name: `a pin: ${u}`,
    object: url(`${u}#sha256=${"0123456789abcdef".repeat(4)}`),
  })),
  { name: "an absolute path", object: url("/models/yard1/llama-2-7b-sql-lora-test") },
  { name: "matchExpressions alone", object: spec({ podSelector: { matchExpressions: [{ key: "tier", operator: "Exists" }] } }) },
  { name: "In with values", object: spec({ podSelector: { matchExpressions: [{ key: "tier", operator: "In", values: ["a", "b"] }] } }) },
  { name: "an api-key in additionalConfig", object: spec({ additionalConfig: { "api-key": "sk-x" } }) },
  { name: "an api-key in a Secret", object: spec({ apiKeySecretRef: { name: "engine", key: "api-key" } }) },
  { name: "credentials in a Secret", object: spec({ credentialsSecretRef: { name: "s3.credentials" } }) },
  { name: "a name of 63 characters", object: meta({ name: "a".repeat(63) }) },
  { name: "a prefix that begins with a slash", object: url("s3://models//lora") },
  { name: "1,024 characters of which most are two units of UTF-16", object: url(`/${"\u{1f600}".repeat(1023)}`) },
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
  { name: "a bucket and an empty prefix", object: url("s3://models//"), refused: /form s3:\/\/BUCKET\/PREFIX/ },
  { name: "an empty prefix in Google's storage", object: url("gs://models///"), refused: /form gs:\/\/BUCKET\/PREFIX/ },
  { name: "a prefix that walks up", object: url("s3://models/../x"), refused: /form s3:/ },
  { name: "a folder of a repository that walks up", object: url("hf://acme/many/../x"), refused: /form huggingface:/ },
  { name: "a revision that walks up", object: url("hf://acme/many@.."), refused: /form huggingface:/ },
  { name: "a web page", object: url("https://files.example.com/sql-lora"), refused: /form https:\/\/HOST\/PATH\.tar\.gz/ },
  { name: "an archive with a query", object: url("https://h/a.zip?sig=x"), refused: /form https:/ },
  { name: "a password in a URL", object: url("https://me:pw@h/a.zip"), refused: /http_username and http_password.*into a Secret/ },
  { name: "a pin that is too short", object: url("s3://models/x#sha256=ab"), refused: /with or without #sha256=DIGEST/ },
  { name: "a pin that walks up before", object: url(`/a/..#sha256=${"a".repeat(64)}`), refused: /form \/ABSOLUTE\/PATH/ },
  { name: "a line break in a path", object: url("/models/a\nb"), refused: /form \/ABSOLUTE\/PATH/ },
  { name: "a long prefix that walks up at its end", object: url(`${LONG_URL}../x`), refused: /form s3:/ },
  { name: "1,025 characters", object: url(`/${"\u{1f600}".repeat(1024)}`), refused: /artifactURL/ },
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

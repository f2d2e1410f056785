import { type Static, Type } from "typebox";
import { HOST_PATTERN } from "./allowed-hosts.ts";
import { ADAPTER_STATES, stringEnum } from "./model-adapter.ts";
import { SmokeChecksSchema } from "./smoke-checks.ts";

/** Paths of the runtime's HTTP API (the sidecar `aibrix_runtime`, port 8080). */
export const RUNTIME_PATHS = {
  load: "/v1/lora_adapter/load",
  prepare: "/v1/lora_adapter/prepare",
  unload: "/v1/lora_adapter/unload",
  check: "/v1/lora_adapter/check",
  adapters: "/v1/lora_adapters",
  models: "/v1/models",
  modelDownload: "/v1/model/download",
  modelList: "/v1/model/list",
  content: "/v1/contents/{digest}",
  contentFile: "/v1/contents/{digest}/files/{name}",
  healthz: "/healthz",
  ready: "/ready",
  metrics: "/metrics",
  openapi: "/openapi.json",
} as const;

const LoraName = Type.String({
  description: "The engine's name for the adapter; it becomes a folder's name too.",
  minLength: 1,
  maxLength: 63,
  pattern: "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
});

const STRING_MAP = Type.Record(Type.String(), Type.String());

const CREDENTIALS_HOSTS = Type.Array(Type.String({ maxLength: 260, pattern: HOST_PATTERN }), {
  maxItems: 64,
  description:
    "Hosts that the credentials may be sent to, as the Secret's annotation names them. Where absent: the endpoints of their own kind of storage.",
});

const CAUSE = Type.Optional(
  Type.String({
    description:
      "Where there is one: the code of a failure of the network (ECONNREFUSED) or of the system (ENOSPC), TIMEOUT, or what a server answered (HTTP 503).",
  }),
);

const AbsolutePath = Type.String({ minLength: 1, maxLength: 4096, pattern: "^/" });

/**
 * How the adapter's files get to the engine, where it is not as the runtime was started.
 * `volume`: the runtime keeps them under `runtime_dir`, which the engine sees as `engine_dir`; both are needed.
 * `engine`: the engine is given the repository or path of the artifact_url and reads it itself; the runtime can neither check nor pin it.
 */
export const DeliverySchema = Type.Object(
  {
    mode: stringEnum(["volume", "engine"]),
    runtime_dir: Type.Optional(AbsolutePath),
    engine_dir: Type.Optional(AbsolutePath),
  },
  { additionalProperties: false },
);
export type DeliveryRequest = Static<typeof DeliverySchema>;

/**
 * Limits of the engine, which it does not tell over HTTP. What breaks one is refused before the engine is asked; without them the
 * runtime's own flags count, and else the engine decides.
 */
export const LimitsSchema = Type.Object(
  { max_lora_rank: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_536, description: "The engine's --max-lora-rank." })) },
  { additionalProperties: false },
);

const OWNER = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: 400,
    description:
      "Who declares it: modeladapter/NAMESPACE/NAME/UID for a controller. An adapter that another owner declared, or nobody in particular, is neither replaced nor unloaded (409).",
  }),
);

const OWNER_OF_ADAPTERS = "modeladapter";

/** Who declares the adapter of a ModelAdapter, for `owner`. */
export function ownerOf(namespace: string, name: string, uid: string): string {
  return `${OWNER_OF_ADAPTERS}/${namespace}/${name}/${uid}`;
}

/** The ModelAdapter that an owner is; `undefined` for any other owner. */
export function modelAdapterOf(owner: string): { readonly namespace: string; readonly name: string } | undefined {
  const [kind, namespace, name, uid, ...more] = owner.split("/");
  if (kind !== OWNER_OF_ADAPTERS || !namespace || !name || !uid || more.length > 0) return undefined;
  return { namespace, name };
}

/**
 * Begins a revision that is no commit: of a bucket, with a hash for each file over its name, its size and what the bucket says of its version. By
 * it the same content is found among former versions, where the bucket keeps them.
 */
export const FILES_REVISION = "files:";

/** One content of all that a moving reference may lead to in time. */
export const ContentRefSchema = Type.Object(
  {
    digest: Type.String({ pattern: "^sha256:[0-9a-f]{64}$", description: "Its content digest, as a status shows it." }),
    revision: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: "What it was found under, as a status shows it: a commit, or `files:` and hashes of a bucket's versions.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type ContentRef = Static<typeof ContentRefSchema>;

const CONTENT = Type.Optional(ContentRefSchema);

const PEERS = Type.Optional(
  Type.Array(Type.String({ maxLength: 300, pattern: "^http://([-A-Za-z0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$" }), {
    maxItems: 8,
    description:
      "Sidecars of other pods that have exactly the content, as http://ADDRESS:PORT. Where the source has moved on it is taken from them, by whoever was started with the same --token-file. Other peers make no other declaration, and they are not remembered over a restart.",
  }),
);

/** `POST /v1/lora_adapter/load`: declares that the adapter should be served. Answers at once, with the state: 200 where it is served already, else 202. */
export const LoadRequestSchema = Type.Object(
  {
    lora_name: LoraName,
    artifact_url: Type.String({ minLength: 1, description: "As a ModelAdapter's artifactURL." }),
    credentials: Type.Optional(STRING_MAP),
    credentials_hosts: Type.Optional(CREDENTIALS_HOSTS),
    additional_config: Type.Optional(STRING_MAP),
    delivery: Type.Optional(DeliverySchema),
    limits: Type.Optional(LimitsSchema),
    content: CONTENT,
    peers: PEERS,
    drain_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3600,
        description:
          "Where older content serves: how long its requests may go on before it makes room. It does at once where none is left, or where the engine has slots for both. Whoever gives this sends no requests there, so the new content has to answer one before it counts as serving. By default 25, and no such request.",
      }),
    ),
    owner: OWNER,
    adopt: Type.Optional(
      Type.Boolean({
        description:
          "Take the adapter over where nobody in particular declared it: by an owner that knows that it did so itself, before it said who it is.",
      }),
    ),
    probe: Type.Optional(
      stringEnum(["auto", "off"], {
        description:
          "auto: after a first load the engine has to answer a request of one token under the adapter's name before it counts as serving. By default as the runtime's flag says.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type LoadRequest = Static<typeof LoadRequestSchema>;

/**
 * `POST /v1/lora_adapter/prepare`: fetches and checks the content that a declared adapter is to get next, and keeps it at hand. What serves is
 * not touched. Answers at once; the state is in the adapter's `prepared`. The same again joins what runs, or tries again what failed.
 */
export const PrepareRequestSchema = Type.Object(
  {
    lora_name: LoraName,
    artifact_url: Type.String({ minLength: 1, description: "As a ModelAdapter's artifactURL." }),
    credentials: Type.Optional(STRING_MAP),
    credentials_hosts: Type.Optional(CREDENTIALS_HOSTS),
    additional_config: Type.Optional(STRING_MAP),
    delivery: Type.Optional(DeliverySchema),
    limits: Type.Optional(LimitsSchema),
    content: CONTENT,
    peers: PEERS,
    refresh: Type.Optional(
      Type.String({
        maxLength: 1024,
        description: "Another value than before resolves the same reference anew. It is shown again in the state.",
      }),
    ),
    checks: Type.Optional(SmokeChecksSchema),
    prove: Type.Optional(
      Type.Boolean({
        description:
          "Try the API key at the engine, and the credentials at the source, also where the content is here: one byte of it is read. By default false.",
      }),
    ),
    owner: OWNER,
  },
  { additionalProperties: false },
);
export type PrepareRequest = Static<typeof PrepareRequestSchema>;

/** `POST /v1/lora_adapter/unload`: declares that the adapter should no longer be served. */
export const UnloadRequestSchema = Type.Object(
  {
    lora_name: LoraName,
    cleanup_local: Type.Optional(Type.Boolean({ description: "Also drop the downloaded files, once no engine process can read them." })),
    owner: OWNER,
    grace_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3600,
        description:
          "How long requests that run or wait may go on before the engine is told; the adapter is Draining until then. By default 0.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type UnloadRequest = Static<typeof UnloadRequestSchema>;

/** `POST /v1/lora_adapter/check`: what a load call would find, without loading or keeping anything. */
export const CheckRequestSchema = Type.Object(
  {
    lora_name: Type.Optional(LoraName),
    artifact_url: Type.String({ minLength: 1, description: "As a ModelAdapter's artifactURL." }),
    credentials: Type.Optional(STRING_MAP),
    credentials_hosts: Type.Optional(CREDENTIALS_HOSTS),
    limits: Type.Optional(LimitsSchema),
    delivery: Type.Optional(DeliverySchema),
    deep: Type.Optional(
      Type.Boolean({
        description: "Read every byte, and check sizes and hashes; else only the configuration and the headers of the weights.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type CheckRequest = Static<typeof CheckRequestSchema>;

/** What was found of an adapter. As much as was read before something was wrong; `error` then says what. */
export const CheckReportSchema = Type.Object({
  /** Whether a load would reach the engine. */
  ok: Type.Boolean(),
  artifact_url: Type.String(),
  resolved_revision: Type.Optional(Type.String()),
  /** The files that an engine needs. */
  files: Type.Array(Type.Object({ name: Type.String(), size_bytes: Type.Integer(), sha256: Type.Optional(Type.String()) })),
  total_bytes: Type.Integer(),
  /** Where the hashes of all files are known. */
  content_digest: Type.Optional(Type.String()),
  rank: Type.Optional(Type.Integer()),
  /** The highest rank of any module. */
  max_rank: Type.Optional(Type.Integer()),
  /** Names of the modules that its weights are for. */
  target_modules: Type.Optional(Type.Array(Type.String())),
  dtypes: Type.Optional(Type.Array(Type.String())),
  tensors: Type.Optional(Type.Integer()),
  /** What its configuration names as the model that it was trained on. */
  base_model: Type.Optional(Type.String()),
  /** What of the engine was known and compared. */
  compared_with: Type.Object({ max_lora_rank: Type.Optional(Type.Integer()), architecture: Type.Optional(Type.String()) }),
  /** Whether every byte was read. */
  deep: Type.Boolean(),
  warnings: Type.Array(Type.String()),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String(), retryable: Type.Boolean(), cause: CAUSE })),
});
export type CheckReport = Static<typeof CheckReportSchema>;

const Time = Type.String({ format: "date-time" });

/** Content that was asked for by a prepare call, as far as it is here. */
export const PreparedSchema = Type.Object({
  artifact_url: Type.String(),
  refresh: Type.Optional(Type.String()),
  state: stringEnum(["Downloading", "Checking", "Ready", "Failed"]),
  /** How many prompts it has to answer before it is Ready, where there are any. */
  checks: Type.Optional(Type.Integer()),
  content_digest: Type.Optional(Type.String()),
  resolved_revision: Type.Optional(Type.String()),
  max_rank: Type.Optional(Type.Integer()),
  attempts: Type.Integer(),
  reason: Type.Optional(Type.String()),
  message: Type.Optional(Type.String()),
  retryable: Type.Optional(Type.Boolean()),
  next_retry_time: Type.Optional(Time),
});
export type Prepared = Static<typeof PreparedSchema>;

/** One adapter on one engine: what was declared, what happens, and what the engine last said that it serves. */
export const AdapterStatusSchema = Type.Object({
  lora_name: Type.String(),
  artifact_url: Type.String(),
  origin: stringEnum(["api", "manifest"], { description: "Who declared it: a call, or a manifest in the adapters folder." }),
  state: stringEnum(ADAPTER_STATES),
  /** What answers now under this name; null while nothing does. It may be older content than the declared one. Without a digest where the engine read the files itself. */
  serving: Type.Union([Type.Object({ content_digest: Type.Optional(Type.String()), path: Type.String(), since: Time }), Type.Null()]),
  /** Digest of the declared content, once its files are here. */
  content_digest: Type.Optional(Type.String()),
  /** What a moving reference was resolved to: a commit, or {@link FILES_REVISION} with hashes of a bucket's versions. */
  resolved_revision: Type.Optional(Type.String()),
  /** How far its files are here. `bytes_per_second` is the rate of the last seconds. */
  download: Type.Optional(
    Type.Object({
      bytes: Type.Integer(),
      total_bytes: Type.Optional(Type.Integer()),
      bytes_per_second: Type.Optional(Type.Integer()),
    }),
  ),
  /** Who declared it, as its load call said; null for a call that did not say it. Absent for a manifest. */
  owner: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  /** The highest rank of any of its modules, once its files were read. */
  max_rank: Type.Optional(Type.Integer()),
  /**
   * Whether the engine answered a request under its name since it was loaded first: `served`, `notNeeded` (its task has no completions), `off`.
   * Absent for content that took the place of what served, which is not asked.
   */
  probed: Type.Optional(stringEnum(["served", "notNeeded", "off"])),
  /** How long the last download and the last load in the engine took, in milliseconds. */
  timings: Type.Optional(Type.Object({ download_ms: Type.Optional(Type.Integer()), load_ms: Type.Optional(Type.Integer()) })),
  /** What comes next, where a prepare call asked for it. */
  prepared: Type.Optional(PreparedSchema),
  /** Since when new content waits for requests of the old to end. */
  waits_since: Type.Optional(Time),
  /** What served was given up for other content, and that, or it again, is about to be in its place: nothing serves for a moment. */
  swapping: Type.Optional(Type.Boolean()),
  /** Tries since the last success. */
  attempts: Type.Integer(),
  reason: Type.Optional(Type.String()),
  message: Type.Optional(Type.String()),
  retryable: Type.Optional(Type.Boolean()),
  cause: CAUSE,
  next_retry_time: Type.Optional(Time),
});
export type AdapterStatus = Static<typeof AdapterStatusSchema>;

/** The engine beside the runtime, as last seen. */
export const EngineStatusSchema = Type.Object({
  url: Type.String(),
  kind: Type.String(),
  ready: Type.Boolean(),
  /** Why it is not ready, and what to do. */
  message: Type.Optional(Type.String()),
  /** Names under which the base model is served; empty until the engine has listed them. */
  base_models: Type.Array(Type.String()),
  /** Changes when the engine's process does. */
  boot_id: Type.Optional(Type.String()),
  /** What the engine, or the runtime's flags, tell of its limits. */
  limits: Type.Optional(
    Type.Object({
      max_loras: Type.Optional(Type.Integer()),
      max_cpu_loras: Type.Optional(Type.Integer()),
      max_lora_rank: Type.Optional(Type.Integer()),
    }),
  ),
});
export type EngineStatus = Static<typeof EngineStatusSchema>;

/** A file of the adapters folder, or one of its documents, that could not be taken. */
export const ManifestProblemSchema = Type.Object({
  file: Type.String(),
  name: Type.Optional(Type.String()),
  reason: Type.String(),
  message: Type.String(),
});
export type ManifestProblem = Static<typeof ManifestProblemSchema>;

/** `GET /v1/lora_adapters`. */
export const SnapshotSchema = Type.Object({
  /** Changes when the runtime's process does. */
  instance_id: Type.String(),
  engine: EngineStatusSchema,
  adapters: Type.Array(AdapterStatusSchema),
  manifest_problems: Type.Array(ManifestProblemSchema),
});
export type Snapshot = Static<typeof SnapshotSchema>;

/**
 * A line of `GET /v1/lora_adapters?watch=true` (`application/x-ndjson`). The first is a SNAPSHOT; a BOOKMARK at least every
 * {@link BOOKMARK_PERIOD_MS} shows that the stream lives. A reader that falls behind is disconnected and starts anew.
 */
export type WatchEvent =
  | { readonly type: "SNAPSHOT"; readonly object: Snapshot }
  | { readonly type: "ADAPTER"; readonly object: AdapterStatus }
  | { readonly type: "DELETED"; readonly lora_name: string }
  | { readonly type: "ENGINE"; readonly object: EngineStatus }
  | { readonly type: "MANIFESTS"; readonly object: readonly ManifestProblem[] }
  | { readonly type: "BOOKMARK" };

/** Longest silence of a watch, in milliseconds; a reader gives up after three of them. */
export const BOOKMARK_PERIOD_MS = 5_000;

/** `POST /v1/model/download`: brings a whole base model here. Answers 202 while it is on its way, 200 where it is here. */
export const ModelDownloadRequestSchema = Type.Object(
  {
    model_uri: Type.String({
      minLength: 1,
      maxLength: 1024,
      description: "huggingface://ORG/REPO[@REVISION][/FOLDER] or just ORG/REPO, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
    }),
    local_dir: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4096,
        description: "Absolute path of --models-dir or a folder in it; --models-dir by default. The model becomes a folder in it.",
      }),
    ),
    model_name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        description: "Name of the model's folder; slashes become underscores. By default the last part of the URI.",
      }),
    ),
    allow_file_suffix: Type.Optional(
      Type.String({ maxLength: 4096, description: "Only files whose names end so, separated by commas: json, safetensors." }),
    ),
    credentials: Type.Optional(STRING_MAP),
    credentials_hosts: Type.Optional(Type.Array(Type.String(), { description: "Hosts that the credentials may go to." })),
  },
  { additionalProperties: false },
);
export type ModelDownloadRequest = Static<typeof ModelDownloadRequestSchema>;

/** States of a base model in `GET /v1/model/list`. */
export const MODEL_STATES = ["Listing", "Downloading", "Ready", "Failed"] as const;

/** `GET /v1/contents/{digest}`: the files of a content that this pod has, for other pods of the same adapter. */
export const ContentFilesSchema = Type.Object({
  /** Content digest: a hash over all that follows. */
  digest: Type.String({ pattern: "^sha256:[0-9a-f]{64}$" }),
  files: Type.Array(
    Type.Object({
      name: Type.String({
        minLength: 1,
        maxLength: 255,
        pattern: "^[^./\\\\][^/\\\\]*$",
        description: "One file's name, without a folder.",
      }),
      size_bytes: Type.Integer({ minimum: 0 }),
      sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    }),
    { maxItems: 1_000 },
  ),
});
export type ContentFiles = Static<typeof ContentFilesSchema>;

const ErrorDetail = Type.Object({
  code: Type.String(),
  message: Type.String(),
  retryable: Type.Boolean(),
  cause: CAUSE,
});

/** A base model that is here, or on its way. */
export const ModelStatusSchema = Type.Object({
  model_name: Type.String({ description: "Name of its folder." }),
  model_uri: Type.String(),
  path: Type.String({ description: "The folder that an engine is given, once the state is Ready." }),
  state: stringEnum(MODEL_STATES),
  resolved_revision: Type.Optional(Type.String()),
  allow_file_suffix: Type.Optional(Type.Array(Type.String())),
  bytes: Type.Integer({ description: "What is here." }),
  total_bytes: Type.Optional(Type.Integer()),
  bytes_per_second: Type.Optional(Type.Integer()),
  files: Type.Optional(Type.Integer({ description: "How many files it has." })),
  completed_time: Type.Optional(Time),
  error: Type.Optional(ErrorDetail),
});
export type ModelStatus = Static<typeof ModelStatusSchema>;

/** `GET /v1/model/list`. */
export const ModelListSchema = Type.Object({ object: stringEnum(["list"]), data: Type.Array(ModelStatusSchema) });
export type ModelList = Static<typeof ModelListSchema>;

/** Body of every error answer of the runtime. */
export const ErrorBodySchema = Type.Object({
  error: ErrorDetail,
});
export type ErrorBody = Static<typeof ErrorBodySchema>;

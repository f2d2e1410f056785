import { type TSchema, Type } from "typebox";
import {
  AdapterStatusSchema,
  CheckReportSchema,
  CheckRequestSchema,
  ContentFilesSchema,
  ErrorBodySchema,
  LoadRequestSchema,
  ModelDownloadRequestSchema,
  ModelListSchema,
  ModelStatusSchema,
  PrepareRequestSchema,
  RUNTIME_PATHS,
  SnapshotSchema,
  UnloadRequestSchema,
} from "./runtime-contract.ts";

/** One call of the runtime's HTTP API, as its document tells it. */
interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly body?: TSchema;
  readonly query?: readonly { readonly name: string; readonly description: string }[];
  /** Description of each part of the path in braces. */
  readonly parts?: Readonly<Record<string, string>>;
  /** Description and content by HTTP status. */
  readonly answers: Readonly<Record<number, readonly [description: string, content: TSchema | "text" | "bytes"]>>;
  /** It changes something, or gives private content: it wants the token where `--token-file` is set. */
  readonly changes?: true;
}

const Model = Type.Object(
  { id: Type.String(), root: Type.Optional(Type.String()), parent: Type.Optional(Type.Union([Type.String(), Type.Null()])) },
  { description: "As the engine lists it." },
);

const ERRORS = {
  400: "The request cannot work as it is: the message names the field and what to write.",
  404: "There is nothing of this name.",
  409: "The name belongs to somebody else.",
  413: "The body is too large.",
  429: "Too many of these run already.",
  422: "The fields are well formed, and cannot work together or here.",
  424: "The storage refused the credentials, or wants some.",
  502: "The storage did not answer, or answered with an error.",
  503: "The engine is needed, and does not answer.",
  504: "The storage did not answer in time.",
} as const;

function errors(...codes: readonly (keyof typeof ERRORS)[]): Operation["answers"] {
  return Object.fromEntries(codes.map((code) => [code, [ERRORS[code], ErrorBodySchema] as const]));
}

const DIGEST_PART = "Content digest, sha256: and 64 hex digits.";
const NOT_GIVEN = "The runtime has no --token-file, without which it gives contents to nobody.";

const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: RUNTIME_PATHS.load,
    id: "loadAdapter",
    summary: "Declare that an adapter should be served. Calling again joins what runs, or tries again what failed.",
    body: LoadRequestSchema,
    answers: {
      200: ["It is served.", AdapterStatusSchema],
      202: ["It is on its way.", AdapterStatusSchema],
      ...errors(400, 409, 413, 422),
      503: ["It holds, and a restart would forget it: it cannot be written down.", ErrorBodySchema],
    },
    changes: true,
  },
  {
    method: "post",
    path: RUNTIME_PATHS.prepare,
    id: "prepareAdapter",
    summary: "Fetch and check the content that a declared adapter is to get next. What serves is not touched.",
    body: PrepareRequestSchema,
    answers: {
      200: ["It is at hand, or has failed for good: `prepared` tells.", AdapterStatusSchema],
      202: ["It is on its way.", AdapterStatusSchema],
      ...errors(400, 404, 409, 413, 422),
    },
    changes: true,
  },
  {
    method: "post",
    path: RUNTIME_PATHS.unload,
    id: "unloadAdapter",
    summary: "Declare that an adapter should no longer be served.",
    body: UnloadRequestSchema,
    answers: {
      200: ["It is gone.", AdapterStatusSchema],
      202: ["It is on its way out.", AdapterStatusSchema],
      ...errors(400, 404, 409, 413),
      503: ["It holds, and a restart would load the adapter again: it cannot be written down.", ErrorBodySchema],
    },
    changes: true,
  },
  {
    method: "post",
    path: RUNTIME_PATHS.check,
    id: "checkAdapter",
    summary: "Tell what a load call would find, without loading or keeping anything.",
    body: CheckRequestSchema,
    answers: {
      200: ["The report; its `ok` tells whether a load would reach the engine.", CheckReportSchema],
      ...errors(400, 413, 422, 429),
    },
    changes: true,
  },
  {
    method: "get",
    path: RUNTIME_PATHS.adapters,
    id: "listAdapters",
    summary: "Every adapter, the engine, and problems with manifests.",
    query: [
      { name: "watch", description: "true: the same as a first line, then a line for every change, and one every 5 seconds at least." },
    ],
    answers: { 200: ["The state; with watch, lines of JSON (application/x-ndjson).", SnapshotSchema], ...errors(400) },
  },
  {
    method: "get",
    path: RUNTIME_PATHS.models,
    id: "listModels",
    summary: "What the engine answers to now.",
    answers: { 200: ["The list.", Type.Object({ object: Type.Literal("list"), data: Type.Array(Model) })], ...errors(503) },
  },
  {
    method: "post",
    path: RUNTIME_PATHS.modelDownload,
    id: "downloadModel",
    summary: "Bring a whole base model here. Calling again joins what runs, or tries again what failed.",
    body: ModelDownloadRequestSchema,
    answers: {
      200: ["It is here, whole.", ModelStatusSchema],
      202: ["It is on its way.", ModelStatusSchema],
      ...errors(400, 404, 409, 413, 422, 424, 429, 502, 504),
      503: ["The volume is full, or cannot be used.", ErrorBodySchema],
    },
    changes: true,
  },
  {
    method: "get",
    path: RUNTIME_PATHS.modelList,
    id: "listBaseModels",
    summary: "Base models below --models-dir that are here, on their way, or have failed.",
    answers: { 200: ["The list.", ModelListSchema] },
  },
  {
    method: "get",
    path: RUNTIME_PATHS.content,
    id: "listContentFiles",
    summary: "The files of a content that this pod has whole, for other pods. Only where the runtime has a --token-file.",
    parts: { digest: DIGEST_PART },
    answers: { 200: ["They are all here.", ContentFilesSchema], ...errors(400, 404), 403: [NOT_GIVEN, ErrorBodySchema] },
    changes: true,
  },
  {
    method: "get",
    path: RUNTIME_PATHS.contentFile,
    id: "readContentFile",
    summary: "A file of such a content, or one part of it (Range: bytes=FIRST-LAST). Eight are given at once.",
    parts: { digest: DIGEST_PART, name: "Name of a file of the list." },
    answers: {
      200: ["The bytes of the whole file.", "bytes"],
      206: ["The bytes of the part; Content-Range says which.", "bytes"],
      ...errors(400, 404),
      403: [NOT_GIVEN, ErrorBodySchema],
      416: ["The file has no such bytes.", ErrorBodySchema],
      503: ["Eight are being given: ask again after Retry-After.", ErrorBodySchema],
    },
    changes: true,
  },
  {
    method: "get",
    path: RUNTIME_PATHS.healthz,
    id: "health",
    summary: "Whether this process answers.",
    answers: { 200: ["It does.", "text"] },
  },
  {
    method: "get",
    path: RUNTIME_PATHS.ready,
    id: "ready",
    summary: "Whether the engine answers and its adapters are back, or have failed.",
    answers: { 200: ["They are.", "text"], 503: ["What is waited for.", "text"] },
  },
  {
    method: "get",
    path: RUNTIME_PATHS.metrics,
    id: "metrics",
    summary: "The runtime's metrics and the engine's, in Prometheus' text format.",
    answers: { 200: ["The page.", "text"] },
  },
  {
    method: "get",
    path: RUNTIME_PATHS.openapi,
    id: "openapi",
    summary: "This document.",
    answers: { 200: ["The document.", Type.Object({}, { additionalProperties: true })] },
  },
];

/** The runtime's HTTP API as an OpenAPI 3.1 document, made from the contract's schemas. */
export function runtimeOpenApi(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of OPERATIONS) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(operation) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "aibrix_runtime",
      version: "v1",
      description: "Brings adapters to the inference engine beside it. Every field that is not in a schema is refused.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "http://localhost:8080" }],
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "What is in the file of --token-file; none is wanted without that flag." },
      },
    },
  };
}

function describe({ id, summary, body, query = [], parts = {}, answers, changes }: Operation): object {
  const parameters = [
    ...Object.entries(parts).map(([name, description]) => ({ name, description, in: "path", required: true, schema: { type: "string" } })),
    ...query.map((q) => ({ ...q, in: "query", schema: { type: "string" } })),
  ];
  const refused = { 401: ["The token is missing or wrong.", ErrorBodySchema] as const };
  return {
    operationId: id,
    summary,
    ...(changes === undefined ? { security: [] } : { security: [{ token: [] }, {}] }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: { "application/json": { schema: plain(body) } } } }),
    responses: Object.fromEntries(
      Object.entries({ ...answers, ...(changes === undefined ? {} : refused) }).map(([status, [description, content]]) => [
        status,
        { description, content: contentOf(content) },
      ]),
    ),
  };
}

function contentOf(content: TSchema | "text" | "bytes"): object {
  if (content === "bytes") return { "application/octet-stream": {} };
  if (content === "text") return { "text/plain": { schema: { type: "string" } } };
  return { "application/json": { schema: plain(content) } };
}

/** A schema without what only TypeBox reads. */
function plain(schema: TSchema): unknown {
  return JSON.parse(JSON.stringify(schema));
}

import { type Static, Type } from "typebox";
import { ARTIFACT_SCHEMES, ARTIFACT_URL_MAX_LENGTH, PIN_FORM } from "./artifact-url.ts";
import { API_VERSION, CONFIG_API_KEY, KIND } from "./labels.ts";
import { RolloutSpec } from "./rollout-spec.ts";
import { ARTIFACT_URL_RULES, EXPRESSION_RULES, SELECTOR_RULES, SPEC_RULES, validations } from "./rules.ts";

/** A string enum that the API server accepts: `enum`, never `anyOf` of `const`. */
export function stringEnum<const V extends readonly string[]>(
  values: V,
  options: { readonly default?: V[number]; readonly description?: string } = {},
) {
  return Type.Unsafe<V[number]>({ type: "string", enum: [...values], ...options });
}

const LABEL_MAP = { maxProperties: 64 } as const;

function stringMap(description: string, valueMaxLength: number) {
  return Type.Unsafe<Record<string, string>>({
    type: "object",
    description,
    additionalProperties: { type: "string", maxLength: valueMaxLength },
    ...LABEL_MAP,
  });
}

const LabelSelectorRequirement = Type.Object(
  {
    key: Type.String({ description: "Label key that the selector applies to.", minLength: 1, maxLength: 317 }),
    operator: stringEnum(["In", "NotIn", "Exists", "DoesNotExist"], { description: "How the label's value relates to `values`." }),
    values: Type.Optional(
      Type.Array(Type.String({ maxLength: 63 }), {
        description: "Values for `In` and `NotIn`; empty for the others.",
        maxItems: 64,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  { additionalProperties: false, "x-kubernetes-validations": validations(EXPRESSION_RULES) },
);

const PodSelector = Type.Object(
  {
    matchLabels: Type.Optional(stringMap("Labels that a pod must carry, each with this value.", 63)),
    matchExpressions: Type.Optional(
      Type.Array(LabelSelectorRequirement, {
        description: "Requirements that a pod's labels must meet, all of them.",
        maxItems: 32,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "Which pods of the adapter's namespace load it. `matchLabels` and `matchExpressions` must both hold; it may not be empty.",
    "x-kubernetes-map-type": "atomic",
    "x-kubernetes-validations": validations(SELECTOR_RULES),
  },
);

const SECRET_NAME = Type.String({
  description: "Name of a Secret in the adapter's namespace.",
  minLength: 1,
  maxLength: 253,
  pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
});

export const ModelAdapterSpecSchema = Type.Object(
  {
    podSelector: PodSelector,
    artifactURL: Type.String({
      description: `Where the adapter's files are: ${ARTIFACT_SCHEMES.map((s) => `\`${s.form}\``).join(", ")}; each with or without the pin \`${PIN_FORM}\` at its end.`,
      minLength: 1,
      maxLength: ARTIFACT_URL_MAX_LENGTH,
      "x-kubernetes-validations": validations(ARTIFACT_URL_RULES),
    }),
    baseModel: Type.Optional(Type.String({ description: "Name of the base model that the adapter was trained on.", maxLength: 253 })),
    schedulerName: Type.Optional(
      stringEnum(["default", "least-adapters", "bin-pack", "random"], {
        default: "default",
        description:
          "How pods are chosen where `replicas` is set. `default` is `least-adapters`: pods with room in the engine's memory first, each replica on another zone and node where it can be, then the fewest adapters. `bin-pack`: the fullest pod that has room for one more. `random`: by chance. A pod that has the adapter keeps it.",
      }),
    ),
    replicas: Type.Optional(
      Type.Integer({
        description: "On how many pods the adapter is loaded, 1 or more. Leave it out for every matching pod.",
        maximum: 10_000,
        format: "int32",
      }),
    ),
    additionalConfig: Type.Optional(
      stringMap(
        `Settings for the engine. \`${CONFIG_API_KEY}\` is the engine's API key; \`apiKeySecretRef\` gives it without plain text.`,
        4096,
      ),
    ),
    credentialsSecretRef: Type.Optional(
      Type.Object(
        { name: SECRET_NAME },
        { additionalProperties: false, description: "Secret with the credentials for the artifact's storage." },
      ),
    ),
    refreshInterval: Type.Optional(
      Type.String({
        description:
          "How often the reference in `artifactURL` is resolved again by itself, for example `6h`: a number of `s`, `m` or `h`. Leave it out to resolve it once, and again only by the annotation `adapter.model.aibrix.ai/refresh`.",
        maxLength: 7,
        pattern: "^[1-9][0-9]{0,5}[smh]$",
      }),
    ),
    rollout: Type.Optional(RolloutSpec),
    apiKeySecretRef: Type.Optional(
      Type.Object(
        { name: SECRET_NAME, key: Type.String({ description: "Key in the Secret's data.", minLength: 1, maxLength: 253 }) },
        { additionalProperties: false, description: "Secret with the engine's API key." },
      ),
    ),
  },
  {
    additionalProperties: false,
    description: "What should be served, and where.",
    "x-kubernetes-validations": validations(SPEC_RULES),
  },
);

const Condition = Type.Object(
  {
    type: Type.String({ description: "Type of the condition: Initialized, Scheduled, Ready, Updated.", maxLength: 316 }),
    status: stringEnum(["True", "False", "Unknown"], { description: "Whether the condition holds." }),
    reason: Type.String({ description: "One word for the cause of the last transition.", minLength: 1, maxLength: 1024 }),
    message: Type.String({ description: "A sentence for people: the cause, and what to do about it.", maxLength: 32_768 }),
    lastTransitionTime: Type.String({ description: "When the status last changed.", format: "date-time" }),
    observedGeneration: Type.Optional(
      Type.Integer({ description: "Generation of the spec that the condition speaks of.", minimum: 0, format: "int64" }),
    ),
  },
  { additionalProperties: false },
);

/** States of one adapter on one pod. */
export const ADAPTER_STATES = ["Pending", "Downloading", "Loading", "Serving", "Updating", "Draining", "Failed"] as const;
export type AdapterState = (typeof ADAPTER_STATES)[number];

const PodStatus = Type.Object(
  {
    name: Type.String({ description: "Name of the pod." }),
    uid: Type.Optional(
      Type.String({ description: "Uid of the pod: a later pod of the same name, as a StatefulSet makes them, is another one." }),
    ),
    state: stringEnum(ADAPTER_STATES, { description: "What happens to the adapter on this pod." }),
    contentDigest: Type.Optional(Type.String({ description: "Digest of the content that the pod serves." })),
    delivery: Type.Optional(
      stringEnum(["Volume", "Engine", "Path"], {
        description:
          "How the files get to the engine. Volume: the sidecar fetches and checks them. Engine: the engine downloads them itself, without check, pin or credentials, while its other requests wait. Path: they are there already.",
      }),
    ),
    asked: Type.Optional(
      Type.Boolean({
        description: "Set before an engine without sidecar is asked to load the adapter: so it is known later that it is ours to unload.",
      }),
    ),
    taken: Type.Optional(
      Type.Boolean({
        description:
          "Set before the pod's sidecar is asked to take the adapter up, until it has given it up: so it is known later whom to ask for that.",
      }),
    ),
    acceptedFingerprint: Type.Optional(
      Type.String({ description: "Fingerprint of what the pod accepted last, where Secrets belong to it: the same is not said again." }),
    ),
    refusedFingerprint: Type.Optional(
      Type.String({ description: "Fingerprint of what the pod was asked for in vain: the same is not asked again before its time." }),
    ),
    loadingSince: Type.Optional(
      Type.String({
        description: "When an engine without sidecar was asked to load it, as long as the outcome is not known: it is not asked twice.",
        format: "date-time",
      }),
    ),
    firstServedTime: Type.Optional(Type.String({ description: "When the pod first served it.", format: "date-time" })),
    maxRank: Type.Optional(
      Type.Integer({ description: "The highest rank of any of its modules, as the pod's sidecar read it.", minimum: 1, format: "int32" }),
    ),
    note: Type.Optional(
      Type.String({ description: "Something worth knowing about this pod that keeps nothing from working.", maxLength: 32_768 }),
    ),
    attempts: Type.Optional(Type.Integer({ description: "Tries since the last success.", minimum: 0, format: "int32" })),
    reason: Type.Optional(Type.String({ description: "One word for what went wrong last.", maxLength: 1024 })),
    lastError: Type.Optional(Type.String({ description: "What went wrong last, and what to do about it.", maxLength: 32_768 })),
    nextRetryTime: Type.Optional(Type.String({ description: "When the next try starts.", format: "date-time" })),
  },
  { additionalProperties: false },
);

/** How far an update is. */
export const UPDATE_STATES = ["Preparing", "Swapping", "Failed"] as const;
/** What became of a content. */
export const HISTORY_OUTCOMES = ["Served", "Failed", "Aborted"] as const;

const DIGEST = (description: string) => Type.Optional(Type.String({ description, maxLength: 128 }));
const REVISION = Type.Optional(
  Type.String({
    description:
      "The commit that the reference led to, or `files:` and a hash for each file of a bucket, of its name, its size and its ETag or generation.",
    maxLength: 256,
  }),
);
const REFRESH = Type.Optional(
  Type.String({ description: "Value of the annotation `adapter.model.aibrix.ai/refresh` that it was resolved for.", maxLength: 1024 }),
);

const SECRETS = Type.Optional(
  Type.String({
    description: "Stands for the credentials and the API key, and for which Secrets they are of; says nothing about them. Absent without.",
    maxLength: 256,
  }),
);

const Served = Type.Object(
  {
    artifactURL: Type.String({ description: "Where the content that is served came from, with its pin." }),
    refresh: REFRESH,
    secrets: SECRETS,
    resolvedTime: Type.String({ description: "When the reference was last resolved.", format: "date-time" }),
  },
  {
    additionalProperties: false,
    description: "What was decided on: pods that join get exactly this content, until another one takes its place.",
  },
);

const Update = Type.Object(
  {
    artifactURL: Type.String({ description: "Where the new content comes from, with its pin." }),
    refresh: REFRESH,
    secrets: SECRETS,
    fingerprint: Type.String({ description: "Of all that was asked for: the same is not tried again once it has failed." }),
    state: stringEnum(UPDATE_STATES, {
      description:
        "Preparing: pods fetch and check the new content. Swapping: it takes the place of the old one, pod after pod. Failed: it is not going to be served; the old one is, on every pod.",
    }),
    contentDigest: DIGEST("Digest of the new content, once it was resolved: every pod gets exactly this one."),
    resolvedRevision: REVISION,
    startTime: Type.String({ description: "When it began.", format: "date-time" }),
    step: Type.Optional(
      Type.Integer({
        description:
          "Which of `spec.rollout.canary.steps` it is at, from 1; one more than there are where every pod gets the new content after the last one.",
        minimum: 1,
        format: "int32",
      }),
    ),
    weight: Type.Optional(
      Type.Integer({
        description:
          "How many of a hundred requests the new content gets now, as far as the gateway decides it; 100 while it takes the old one's place on every pod.",
        minimum: 0,
        maximum: 100,
        format: "int32",
      }),
    ),
    stepTime: Type.Optional(
      Type.String({
        description:
          "Since when the step's pods serve the new content: its duration counts from then on, anew after each time that they did not.",
        format: "date-time",
      }),
    ),
    reason: Type.Optional(Type.String({ description: "One word for why it failed, or what it waits for.", maxLength: 1024 })),
    message: Type.Optional(Type.String({ description: "Why it failed or what it waits for, and what to do about it.", maxLength: 32_768 })),
  },
  { additionalProperties: false, description: "An update that goes on, or has failed; absent once the new content is served." },
);

const HistoryEntry = Type.Object(
  {
    artifactURL: Type.String({ description: "Where it came from." }),
    contentDigest: DIGEST("Digest of the content; absent where it never came here."),
    resolvedRevision: REVISION,
    time: Type.String({ description: "When every pod served it, or when it failed.", format: "date-time" }),
    outcome: stringEnum(HISTORY_OUTCOMES, {
      description:
        "Served: every pod served it. Failed: it was not taken. Aborted: somebody, a threshold, or an engine that had to be started anew ended its rollout.",
    }),
  },
  { additionalProperties: false },
);

export const PHASES = ["Pending", "Scheduled", "Bound", "Running", "Failed"] as const;
export type Phase = (typeof PHASES)[number];

export const ModelAdapterStatusSchema = Type.Object(
  {
    phase: Type.Optional(stringEnum(PHASES, { description: "The state in one word." })),
    conditions: Type.Optional(
      Type.Array(Condition, {
        description: "The state in sentences.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
      }),
    ),
    instances: Type.Optional(
      Type.Array(Type.String(), { description: "Names of the pods that the adapter is allocated to.", "x-kubernetes-list-type": "atomic" }),
    ),
    candidates: Type.Optional(Type.Integer({ description: "How many pods match the selector.", minimum: 0, format: "int32" })),
    desiredReplicas: Type.Optional(Type.Integer({ description: "On how many pods the adapter should be.", minimum: 0, format: "int32" })),
    readyReplicas: Type.Optional(
      Type.Integer({
        description: "How many pods have answered that they serve it, and are in its EndpointSlices.",
        minimum: 0,
        format: "int32",
      }),
    ),
    observedGeneration: Type.Optional(
      Type.Integer({ description: "Generation of the spec that is being served.", minimum: 0, format: "int64" }),
    ),
    contentDigest: DIGEST("Digest of the content that was decided on; absent where the engine reads the files itself."),
    resolvedRevision: REVISION,
    served: Type.Optional(Served),
    lastHandledPromote: Type.Optional(
      Type.String({ description: "Value of the annotation `adapter.model.aibrix.ai/promote` that was acted on last.", maxLength: 1024 }),
    ),
    lastHandledAbort: Type.Optional(
      Type.String({ description: "Value of the annotation `adapter.model.aibrix.ai/abort` that was acted on last.", maxLength: 1024 }),
    ),
    update: Type.Optional(Update),
    history: Type.Optional(
      Type.Array(HistoryEntry, {
        description: "The last contents, the latest first.",
        maxItems: 3,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    adapterRank: Type.Optional(
      Type.Object(
        {
          value: Type.Integer({ description: "The highest rank of any of its modules.", minimum: 1, format: "int32" }),
          generation: Type.Integer({ description: "Generation of the spec whose adapter has it.", minimum: 0, format: "int64" }),
        },
        { additionalProperties: false, description: "The adapter's rank, once a sidecar has read it or an engine has refused it." },
      ),
    ),
    pods: Type.Optional(
      Type.Array(PodStatus, {
        description: "What is loaded, per pod; also pods that refused it, and on whose account it is elsewhere.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
      }),
    ),
  },
  { additionalProperties: false, description: "What was observed." },
);

const ObjectMeta = Type.Object({
  name: Type.String({ minLength: 1 }),
  namespace: Type.Optional(Type.String()),
  generation: Type.Optional(Type.Integer()),
  labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});

export const ModelAdapterSchema = Type.Object({
  apiVersion: Type.Literal(API_VERSION),
  kind: Type.Literal(KIND),
  metadata: ObjectMeta,
  spec: ModelAdapterSpecSchema,
  status: Type.Optional(ModelAdapterStatusSchema),
});

export type ModelAdapterSpec = Static<typeof ModelAdapterSpecSchema>;
export type ModelAdapterStatus = Static<typeof ModelAdapterStatusSchema>;
export type ModelAdapter = Static<typeof ModelAdapterSchema>;
export type LabelSelector = Static<typeof PodSelector>;

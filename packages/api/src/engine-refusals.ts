import type { Reason } from "./conditions.ts";
import { CONFIG_API_KEY } from "./labels.ts";
import { rankLimit } from "./rank-limit.ts";

/** What an engine answered to a load or unload that it did not carry out. */
export interface EngineRefusal {
  readonly status: number;
  /** The engine's own words, see {@link refusalText}. */
  readonly text: string;
  /** What it was to load: a path, or a repository that it fetches itself; empty where it was asked for something else. */
  readonly path: string;
  /** Whoever asks has read the adapter's files: a path that the engine does not find is one that is not mounted there. */
  readonly filesSeen: boolean;
}

/** What a refusal comes to. */
export interface RefusalCause {
  readonly reason: Reason;
  /** Cause and remedy, for people. */
  readonly message: string;
  /** Whether the same may be taken later without a change from outside. */
  readonly retryable: boolean;
}

interface Row {
  /** HTTP statuses; any where absent. */
  readonly statuses?: readonly number[];
  readonly text?: RegExp;
  readonly reason: Reason;
  readonly retryable?: true;
  readonly message: (match: RegExpMatchArray, refusal: EngineRefusal) => string;
}

/**
 * Every answer of vLLM whose cause is known, first match wins. Texts as measured on vLLM 0.32; releases before 0.10 put them at the top level
 * of the body ({@link refusalText} reads both).
 */
const ROWS: readonly Row[] = [
  {
    statuses: [401],
    reason: "EngineUnauthorized",
    message: () =>
      `the engine wants an API key, or refused the one that it was given: set additionalConfig.${CONFIG_API_KEY} or apiKeySecretRef to the key that the engine was started with`,
  },
  {
    statuses: [404],
    text: /^Not Found$/,
    reason: "EngineRuntimeUpdatingDisabled",
    message: () => "the engine does not take adapters while it runs: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora",
  },
  {
    text: /LoRA is not enabled/i,
    reason: "EngineRuntimeUpdatingDisabled",
    message: () => "the engine runs without LoRA: start it with --enable-lora",
  },
  {
    text: /conflicts with a served base model/,
    reason: "NameConflict",
    message: () => "the engine serves a base model under this name: give the adapter another name",
  },
  {
    // Somebody else was faster; the next look at the engine's list tells who.
    text: /has already been loaded/,
    reason: "NameConflict",
    retryable: true,
    message: () => "the engine has an adapter of this name already: unload it there, or give this one another name",
  },
  {
    text: /LoRA rank (\d+) is greater than max_lora_rank (\d+)/,
    reason: "EngineRefused",
    message: ([, rank, limit]) =>
      `the adapter has rank ${rank}, the engine takes at most ${limit} (LoRA rank ${rank} is greater than max_lora_rank ${limit}): start the engine with --max-lora-rank ${rankLimit(Number(rank))}, or use an adapter of rank ${limit} or less`,
  },
  {
    text: /The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)|size mismatch|shape mismatch/i,
    reason: "EngineRefused",
    message: ([words]) =>
      `the adapter was made for a base model of another size (${words}): use an adapter that was trained on the engine's base model`,
  },
  {
    text: /expected target modules in (\{[^}]*\}) but received (\[[^\]]*\])/,
    reason: "EngineRefused",
    message: ([, expected, received]) =>
      `the adapter changes modules that the engine cannot change for this base model (${received}; it can ${expected}): train it on those modules only, or use an adapter of this base model`,
  },
  {
    text: /deserializing header|incomplete metadata|InvalidHeader|HeaderTooLarge|MetadataIncompleteBuffer/,
    reason: "ArtifactInvalid",
    message: (_, { text }) => `the engine cannot read the weights (${short(text)}): they are damaged, upload them again`,
  },
  {
    text: /EngineCore encountered|EngineDeadError|engine is dead/i,
    reason: "EngineUnavailable",
    retryable: true,
    message: (_, { text }) => `the engine has failed (${short(text)}): it must be restarted, look into its log`,
  },
  {
    text: /out of memory/i,
    reason: "EngineRefused",
    retryable: true,
    message: (_, { text }) =>
      `the engine has no memory for the adapter (${short(text)}): unload others, or start it with fewer --max-loras or a lower --gpu-memory-utilization`,
  },
  {
    statuses: [503],
    reason: "EngineUnavailable",
    retryable: true,
    message: (_, { text }) => `the engine is not ready (${short(text)}): it is tried again`,
  },
  {
    // vLLM says none of these to a load; what may stand between a controller and it does.
    statuses: [408, 429, 502, 504],
    reason: "EngineUnavailable",
    retryable: true,
    message: (_, { status, text }) => `the engine, or what stands before it, answered HTTP ${status} (${short(text)}): it is tried again`,
  },
];

/** Says what an engine's refusal comes to. What nobody knows is final: an engine that has failed says so. Pure. */
export function explainRefusal(refusal: EngineRefusal): RefusalCause {
  if (/No adapter found for/.test(refusal.text)) return notFound(refusal);
  for (const { statuses, text, reason, retryable = false, message } of ROWS) {
    if (statuses !== undefined && !statuses.includes(refusal.status)) continue;
    const match = refusal.text.match(text ?? /^/);
    if (match !== null) return { reason, message: message(match, refusal), retryable };
  }
  const message = `the engine refused the adapter with HTTP ${refusal.status}: ${short(refusal.text)}; its log may tell more`;
  return { reason: "EngineRefused", message, retryable: false };
}

function notFound({ path, filesSeen }: EngineRefusal): RefusalCause {
  if (!path.startsWith("/")) {
    // The engine says the same for a repository that is not there and for a Hub that it cannot reach.
    const message = `the engine cannot fetch ${path} itself: check the artifactURL, that the Hub has it, and that the engine reaches its Hub and may read there (HF_ENDPOINT, HF_TOKEN in its container)`;
    return { reason: "ArtifactNotFound", message, retryable: true };
  }
  const message = `the engine does not find an adapter at ${path}: `;
  if (filesSeen) {
    const remedy = "mount the volume with the adapter's files at the same path in the engine's container, readable for its user";
    return { reason: "EngineRefused", message: `${message}${remedy}`, retryable: false };
  }
  const remedy = "check the artifactURL, and that the path is mounted in the engine's container";
  return { reason: "ArtifactNotFound", message: `${message}${remedy}`, retryable: false };
}

/**
 * The engine's own words in an error body: `{"error":{"message"}}`, `{"object":"error","message"}`, `{"detail"}`, `{"error":"Unauthorized"}`,
 * or whatever text there is.
 */
export function refusalText(body: string): string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return body.trim();
  }
  if (value === null || typeof value !== "object") return String(value);
  const { error, message, detail } = value as { error?: unknown; message?: unknown; detail?: unknown };
  if (typeof error === "string") return error;
  if (error !== null && typeof error === "object" && typeof (error as { message?: unknown }).message === "string")
    return (error as { message: string }).message;
  if (typeof message === "string") return message;
  if (typeof detail === "string") return detail;
  return JSON.stringify(detail ?? value);
}

/** vLLM wraps what its worker said in two sentences that help nobody here. */
function short(text: string): string {
  const worker = /Worker failed with error '(.*)', please check the stack trace/s.exec(text)?.[1];
  return (worker ?? text).replaceAll(/\s+/g, " ").slice(0, 300);
}

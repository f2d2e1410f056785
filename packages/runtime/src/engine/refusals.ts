import { CONFIG_API_KEY, rankLimit } from "@aibrix/api";
import { AdapterError } from "../errors.ts";

/** What an engine answered to a load or unload that it did not carry out. */
export interface Refusal {
  readonly status: number;
  /** The engine's own words, see {@link refusalText}. */
  readonly text: string;
  readonly path: string;
}

interface Row {
  readonly status?: number;
  readonly text?: RegExp;
  readonly error: (match: RegExpMatchArray, refusal: Refusal) => AdapterError;
}

/**
 * Every answer of vLLM whose cause is known, first match wins. Texts as measured on vLLM 0.32; releases before 0.10 put them at the top level
 * of the body ({@link refusalText} reads both).
 */
const ROWS: readonly Row[] = [
  {
    status: 401,
    error: () =>
      new AdapterError(
        "EngineUnauthorized",
        `the engine wants an API key, or refused the one that it was given: set additionalConfig.${CONFIG_API_KEY} or apiKeySecretRef to the key that the engine was started with`,
      ),
  },
  {
    status: 404,
    text: /^Not Found$/,
    error: () =>
      new AdapterError(
        "EngineRuntimeUpdatingDisabled",
        "the engine does not take adapters while it runs: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora",
      ),
  },
  {
    text: /LoRA is not enabled/i,
    error: () => new AdapterError("EngineRuntimeUpdatingDisabled", "the engine runs without LoRA: start it with --enable-lora"),
  },
  {
    text: /conflicts with a served base model/,
    error: () => new AdapterError("NameConflict", "the engine serves a base model under this name: give the adapter another name"),
  },
  {
    // Somebody else was faster; the next look at the engine's list tells who.
    text: /has already been loaded/,
    error: () =>
      new AdapterError("NameConflict", "the engine has an adapter of this name already: unload it there, or give this one another name", {
        retryable: true,
      }),
  },
  {
    text: /LoRA rank (\d+) is greater than max_lora_rank (\d+)/,
    error: ([, rank, limit]) =>
      new AdapterError(
        "EngineRefused",
        `the adapter has rank ${rank}, the engine takes at most ${limit} (LoRA rank ${rank} is greater than max_lora_rank ${limit}): start the engine with --max-lora-rank ${rankLimit(Number(rank))}, or use an adapter of rank ${limit} or less`,
      ),
  },
  {
    text: /The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)|size mismatch|shape mismatch/i,
    error: (match) =>
      new AdapterError(
        "EngineRefused",
        `the adapter was made for a base model of another size (${match[0]}): use an adapter that was trained on the engine's base model`,
      ),
  },
  {
    text: /expected target modules in (\{[^}]*\}) but received (\[[^\]]*\])/,
    error: ([, expected, received]) =>
      new AdapterError(
        "EngineRefused",
        `the adapter changes modules that the engine cannot change for this base model (${received}; it can ${expected}): train it on those modules only, or use an adapter of this base model`,
      ),
  },
  {
    text: /deserializing header|incomplete metadata|InvalidHeader|HeaderTooLarge|MetadataIncompleteBuffer/,
    error: (_, { text }) =>
      new AdapterError("ArtifactInvalid", `the engine cannot read the weights (${short(text)}): they are damaged, upload them again`),
  },
  {
    text: /No adapter found for/,
    error: (_, { path }) =>
      path.startsWith("/")
        ? new AdapterError(
            "EngineRefused",
            `the engine does not find an adapter at ${path}: mount the volume with the adapter's files at the same path in the engine's container, readable for its user`,
          )
        : // The engine says the same for a repository that is not there and for a Hub that it cannot reach.
          new AdapterError(
            "ArtifactNotFound",
            `the engine cannot fetch ${path} itself: check that the Hub has it, and that the engine reaches its Hub and may read there (HF_ENDPOINT, HF_TOKEN in its container)`,
            { retryable: true },
          ),
  },
  {
    text: /EngineCore encountered|EngineDeadError|engine is dead/i,
    error: (_, { text }) =>
      new AdapterError("EngineUnavailable", `the engine has failed (${short(text)}): it must be restarted, look into its log`),
  },
  {
    text: /out of memory/i,
    error: (_, { text }) =>
      new AdapterError(
        "EngineRefused",
        `the engine has no memory for the adapter (${short(text)}): unload others, or start it with fewer --max-loras or a lower --gpu-memory-utilization`,
        { retryable: true },
      ),
  },
  {
    status: 503,
    error: (_, { text }) => new AdapterError("EngineUnavailable", `the engine is not ready (${short(text)}): it is tried again`),
  },
];

/** Turns an engine's refusal into a reason, a cause and a remedy. */
export function explainRefusal(refusal: Refusal): AdapterError {
  for (const row of ROWS) {
    if (row.status !== undefined && row.status !== refusal.status) continue;
    const match = refusal.text.match(row.text ?? /^/);
    if (match !== null) return row.error(match, refusal);
  }
  return new AdapterError(
    "EngineRefused",
    `the engine refused the adapter with HTTP ${refusal.status}: ${short(refusal.text)}; its log may tell more`,
  );
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

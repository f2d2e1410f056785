import { CONFIG_API_KEY, type Reason } from "@aibrix/api";
import { CallError } from "./agent.ts";
import type { Answer } from "./http.ts";

interface Row {
  readonly status?: number;
  readonly text?: RegExp;
  readonly reason: Reason;
  readonly retryable?: boolean;
  readonly message: (text: string) => string;
}

/** Answers of vLLM to a load whose cause is known, first match wins; texts as measured on 0.32. */
const ROWS: readonly Row[] = [
  {
    status: 401,
    reason: "EngineUnauthorized",
    message: () =>
      `the engine wants an API key: set apiKeySecretRef, or additionalConfig.${CONFIG_API_KEY}, to the key that it was started with`,
  },
  {
    status: 404,
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
    text: /has already been loaded/,
    reason: "NameConflict",
    retryable: true,
    message: () => "the engine has an adapter of this name already: unload it there, or give this one another name",
  },
  {
    text: /greater than max_lora_rank/,
    reason: "EngineRefused",
    message: (text) =>
      `the engine takes no adapter of that rank (${text}): start it with a higher --max-lora-rank, or use an adapter of a lower rank`,
  },
  {
    text: /No adapter found for \//,
    reason: "ArtifactNotFound",
    message: (text) =>
      `the engine does not find the adapter's files (${text}): check the artifactURL, and that the path is mounted in the engine's container`,
  },
  {
    // The engine says the same for a repository that is not there and for a Hub that it cannot reach.
    text: /No adapter found for/,
    reason: "ArtifactNotFound",
    retryable: true,
    message: (text) =>
      `the engine does not find the adapter's files (${text}): check the artifactURL, and that the engine reaches its Hub and may read there (HF_ENDPOINT, HF_TOKEN); it is tried again`,
  },
  {
    text: /EngineCore encountered|EngineDeadError|engine is dead/i,
    reason: "EngineUnavailable",
    retryable: true,
    message: (text) => `the engine has failed (${text}): it must be restarted, look into its log`,
  },
  {
    text: /out of memory/i,
    reason: "EngineRefused",
    retryable: true,
    message: (text) => `the engine has no memory for the adapter (${text}): unload others, or start it with fewer --max-loras`,
  },
  { status: 503, reason: "EngineUnavailable", retryable: true, message: (text) => `the engine is not ready (${text}): it is tried again` },
];

/** Turns an engine's refusal into a reason, a cause and a remedy. Pure. */
export function explainRefusal({ status, body }: Answer): CallError {
  const text = refusalText(body);
  const row = ROWS.find((r) => (r.status === undefined || r.status === status) && (r.text === undefined || r.text.test(text)));
  if (row !== undefined) return new CallError(row.reason, row.message(short(text)), { retryable: row.retryable ?? false });
  return new CallError("EngineRefused", `the engine refused the adapter with HTTP ${status}: ${short(text)}; its log may tell more`, {
    // What an engine's own trouble is called is not known: it may pass.
    retryable: status >= 500,
  });
}

/** The engine's own words: `{"error":{"message"}}` since vLLM 0.10, `{"message"}` before, `{"detail"}`, `{"error":"Unauthorized"}`, or the text. */
export function refusalText(body: string): string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return body.trim();
  }
  if (value === null || typeof value !== "object") return String(value);
  const { error, message, detail } = value as { error?: unknown; message?: unknown; detail?: unknown };
  const inner = error !== null && typeof error === "object" ? (error as { message?: unknown }).message : error;
  const words = [inner, message, detail].find((w) => typeof w === "string");
  return typeof words === "string" ? words : JSON.stringify(detail ?? value);
}

/** vLLM wraps what its worker said in two sentences that help nobody here. */
function short(text: string): string {
  const worker = /Worker failed with error '(.*)', please check the stack trace/s.exec(text)?.[1];
  return (worker ?? text).replaceAll(/\s+/g, " ").slice(0, 300);
}

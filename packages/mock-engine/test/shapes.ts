/** Keys, their order and types of a JSON text: what two engines must have in common where their values differ. */
export function shapeOf(text: string): string {
  return JSON.stringify(shape(JSON.parse(text)));
}

function shape(value: unknown): unknown {
  if (value === null) return "null";
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, shape(child)]));
  return typeof value;
}

const PERMISSION = {
  id: "string",
  object: "string",
  created: "number",
  allow_create_engine: "boolean",
  allow_sampling: "boolean",
  allow_logprobs: "boolean",
  allow_search_indices: "boolean",
  allow_view: "boolean",
  allow_fine_tuning: "boolean",
  organization: "string",
  group: "null",
  is_blocking: "boolean",
};
const CARD = { id: "string", object: "string", created: "number", owned_by: "string", root: "string" };
const BASE_CARD = { ...CARD, parent: "null", max_model_len: "number", permission: [PERMISSION] };
const ADAPTER_CARD = { ...CARD, parent: "string", max_model_len: "null", permission: [PERMISSION] };
const USAGE = { prompt_tokens: "number", total_tokens: "number", completion_tokens: "number" };
const FULL_USAGE = { ...USAGE, prompt_tokens_details: "null", completion_tokens_details: "null" };
const ENVELOPE = { id: "string", object: "string", created: "number", model: "string" };

/** Shape of /v1/models with so many base names and adapters. */
export function modelsShape(bases: number, adapters: number): string {
  const cards = [...Array.from({ length: bases }, () => BASE_CARD), ...Array.from({ length: adapters }, () => ADAPTER_CARD)];
  return JSON.stringify({ object: "string", data: cards });
}

export const COMPLETION_SHAPE: string = JSON.stringify({
  ...ENVELOPE,
  choices: [
    {
      index: "number",
      text: "string",
      logprobs: "null",
      finish_reason: "string",
      stop_reason: "null",
      token_ids: "null",
      prompt_logprobs: "null",
      prompt_token_ids: "null",
      routed_experts: "null",
    },
  ],
  service_tier: "null",
  system_fingerprint: "string",
  usage: FULL_USAGE,
  kv_transfer_params: "null",
  ec_transfer_params: "null",
  metrics: "null",
});

export const CHAT_SHAPE: string = JSON.stringify({
  ...ENVELOPE,
  choices: [
    {
      index: "number",
      message: {
        role: "string",
        content: "string",
        refusal: "null",
        annotations: "null",
        audio: "null",
        function_call: "null",
        reasoning: "null",
      },
      logprobs: "null",
      finish_reason: "string",
      stop_reason: "null",
      token_ids: "null",
      routed_experts: "null",
    },
  ],
  service_tier: "null",
  system_fingerprint: "string",
  usage: FULL_USAGE,
  prompt_logprobs: "null",
  prompt_token_ids: "null",
  prompt_text: "null",
  kv_transfer_params: "null",
  ec_transfer_params: "null",
  metrics: "null",
});

function completionChunk(finish: string): object {
  const choice = {
    index: "number",
    text: "string",
    logprobs: "null",
    finish_reason: finish,
    stop_reason: "null",
    prompt_token_ids: "null",
    token_ids: "null",
  };
  return { ...ENVELOPE, choices: [choice] };
}

function chatChunk(finish: object): object {
  return { ...ENVELOPE, choices: [{ index: "number", delta: { content: "string" }, logprobs: "null", ...finish, token_ids: "null" }] };
}

const FINGERPRINT = { system_fingerprint: "string" };

/** Shapes of the events of streams, by their place. */
export const EVENT_SHAPES = {
  completionToken: JSON.stringify(completionChunk("null")),
  completionLast: JSON.stringify({ ...completionChunk("string"), ...FINGERPRINT }),
  completionLastBeforeUsage: JSON.stringify(completionChunk("string")),
  chatRole: JSON.stringify({
    ...ENVELOPE,
    choices: [{ index: "number", delta: { role: "string", content: "string" }, logprobs: "null", finish_reason: "null" }],
    prompt_token_ids: "null",
    prompt_text: "null",
  }),
  chatToken: JSON.stringify(chatChunk({ finish_reason: "null" })),
  chatLast: JSON.stringify({ ...chatChunk({ finish_reason: "string", stop_reason: "null" }), ...FINGERPRINT }),
  chatLastBeforeUsage: JSON.stringify(chatChunk({ finish_reason: "string", stop_reason: "null" })),
  usage: JSON.stringify({ ...ENVELOPE, choices: [], usage: USAGE, ...FINGERPRINT }),
} as const;

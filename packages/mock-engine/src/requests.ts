import { checkFields, type JsonObject, type Parsed, toInteger } from "./body.ts";
import type { Engine } from "./engine.ts";
import { badRequest, notFound, type Refusal } from "./errors.ts";
import type { Job } from "./generate.ts";
import { countTokens } from "./text.ts";

/** Tokens of a chat answer for which no maximum was asked: where a real model would stop by itself. */
const CHAT_TOKENS = 16;
/** vLLM's default for /v1/completions. */
const COMPLETION_TOKENS = 16;

/** A request for text, ready to run. */
export interface Plan {
  readonly kind: "completion" | "chat";
  readonly job: Job;
  /** Answers that were asked for: `n` for each prompt. */
  readonly choices: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly requestId: string | undefined;
}

interface Prompt {
  readonly text: string;
  readonly tokens: number;
  readonly count: number;
}

function refuse<T>(refusal: Refusal): Parsed<T> {
  return { ok: false, refusal };
}

/** `prompt` is a text, a list of texts, a list of token numbers or a list of such lists. */
function readPrompt(value: unknown): Prompt | undefined {
  if (typeof value === "string") return value === "" ? undefined : { text: value, tokens: countTokens(value), count: 1 };
  if (!Array.isArray(value) || value.length === 0) return undefined;
  if (typeof value[0] === "number") return { text: value.join(","), tokens: value.length, count: 1 };
  const parts = value.map((part) => readPrompt(part));
  const known = parts.filter((part) => part !== undefined);
  if (known.length !== parts.length) return undefined;
  return {
    text: known.map((part) => part.text).join("\n"),
    tokens: known.reduce((sum, part) => sum + part.tokens, 0),
    count: known.length,
  };
}

function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: { readonly text?: unknown }) => (typeof part?.text === "string" ? part.text : "")).join("");
}

/** The text that a chat template makes of the messages. */
function renderChat(messages: readonly unknown[]): string {
  const turns = messages.map((message) => {
    const { role, content } = (message ?? {}) as JsonObject;
    return `<|im_start|>${String(role)}\n${contentText(content)}<|im_end|>\n`;
  });
  return `${turns.join("")}<|im_start|>assistant\n`;
}

function includesUsage(body: JsonObject): boolean {
  const options = body.stream_options as JsonObject | null | undefined;
  return options?.include_usage === true;
}

const COMMON_RULES = {
  model: { type: "string" },
  max_tokens: { type: "integer" },
  n: { type: "integer" },
  stream: { type: "boolean" },
} as const;

/** Limits of the context, in the order in which vLLM checks them (vllm/renderers/params.py, then sampling_params.py). */
function checkLengths(engine: Engine, prompt: Prompt, asked: number | undefined, parameter: string): Refusal | undefined {
  const limit = engine.maxModelLen;
  if (asked !== undefined && asked > limit) {
    const message = `${parameter}=${asked} cannot be greater than max_model_len=${limit}. Please request fewer output tokens.`;
    return badRequest(message, parameter, asked);
  }
  if (prompt.tokens > limit * prompt.count) {
    const atLeast = limit + 1;
    const message =
      `This model's maximum context length is ${limit} tokens. However, your prompt contains at least ${atLeast} input tokens, ` +
      "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.";
    return badRequest(message, "input_tokens", atLeast);
  }
  const most = Math.min(asked ?? limit, limit - Math.ceil(prompt.tokens / prompt.count));
  if (most < 1) return badRequest(`max_tokens must be at least 1, got ${most}.`, "max_tokens", most);
  return undefined;
}

interface Draft {
  readonly kind: Plan["kind"];
  readonly prompt: Prompt;
  readonly asked: number | undefined;
  readonly parameter: string;
}

function plan(engine: Engine, body: JsonObject, draft: Draft): Parsed<Plan> {
  const model = body.model as string | null | undefined;
  const target = engine.find(model);
  if (target === undefined) {
    return refuse(
      notFound(`The model \`${model}\` does not exist. Valid aliases: ${engine.options.servedModelNames.join(", ")}.`, "model"),
    );
  }
  const { prompt, asked } = draft;
  const refusal = checkLengths(engine, prompt, asked, draft.parameter);
  if (refusal !== undefined) return refuse(refusal);
  const room = engine.maxModelLen - Math.ceil(prompt.tokens / prompt.count);
  const byDefault = draft.kind === "chat" ? CHAT_TOKENS : COMPLETION_TOKENS;
  const job: Job = {
    adapter: target === "base" ? undefined : target,
    prompt: prompt.text,
    promptTokens: prompt.tokens,
    maxTokens: Math.min(asked ?? byDefault, room),
    finish: asked === undefined && draft.kind === "chat" ? "stop" : "length",
  };
  const requestId = body.request_id;
  return {
    ok: true,
    value: {
      kind: draft.kind,
      job,
      choices: prompt.count * Math.max(1, toInteger(body.n) ?? 1),
      stream: body.stream === true,
      includeUsage: includesUsage(body),
      requestId: typeof requestId === "string" ? requestId : undefined,
    },
  };
}

function checkStreamOptions(body: JsonObject): Refusal | undefined {
  if (!body.stream_options || body.stream === true) return undefined;
  return badRequest("Stream options can only be defined when `stream=True`.", "stream_options");
}

/** Checks a body for /v1/completions. */
export function planCompletion(engine: Engine, body: JsonObject): Parsed<Plan> {
  const early = checkStreamOptions(body);
  if (early !== undefined) return refuse(early);
  const prompt = readPrompt(body.prompt);
  if (prompt === undefined) return refuse(badRequest("Either prompt or prompt_embeds must be provided and non-empty.", "prompt"));
  const refusal = checkFields(body, COMMON_RULES);
  if (refusal !== undefined) return refuse(refusal);
  return plan(engine, body, {
    kind: "completion",
    prompt,
    asked: toInteger(body.max_tokens) ?? COMPLETION_TOKENS,
    parameter: "max_tokens",
  });
}

/** Checks a body for /v1/chat/completions. */
export function planChat(engine: Engine, body: JsonObject): Parsed<Plan> {
  const early = checkStreamOptions(body);
  if (early !== undefined) return refuse(early);
  const refusal = checkFields(body, {
    messages: { type: "list", required: true },
    ...COMMON_RULES,
    max_completion_tokens: { type: "integer" },
  });
  if (refusal !== undefined) return refuse(refusal);
  const messages = body.messages as readonly unknown[];
  if (messages.length === 0) {
    const message = "Cannot apply chat template to an empty conversation. Provide at least one message.";
    return refuse({ status: 400, type: "BadRequestError", message });
  }
  const text = renderChat(messages);
  const prompt = { text, tokens: countTokens(text), count: 1 };
  const newer = toInteger(body.max_completion_tokens);
  const asked = newer ?? toInteger(body.max_tokens);
  return plan(engine, body, { kind: "chat", prompt, asked, parameter: newer === undefined ? "max_tokens" : "max_completion_tokens" });
}

import { randomUUID } from "node:crypto";

/** Version that `/version` and the fingerprint report: the one whose behaviour this engine follows. */
export const VLLM_VERSION = "0.32.0";
const FINGERPRINT = `vllm-${VLLM_VERSION}-00000000`;

/** What every chunk and answer of one request repeats. */
export interface Envelope {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** 16 hex characters, as vLLM's `random_uuid`. */
export function randomId(): string {
  return randomUUID().replaceAll("-", "").slice(0, 16);
}

export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function usage({ promptTokens, completionTokens }: Usage): { prompt_tokens: number; total_tokens: number; completion_tokens: number } {
  return { prompt_tokens: promptTokens, total_tokens: promptTokens + completionTokens, completion_tokens: completionTokens };
}

function fullUsage(counts: Usage): object {
  return { ...usage(counts), prompt_tokens_details: null, completion_tokens_details: null };
}

/** Body of an answer to /v1/completions. */
export function completion(envelope: Envelope, texts: readonly string[], finish: string, counts: Usage): string {
  const choices = texts.map((text, index) => ({
    index,
    text,
    logprobs: null,
    finish_reason: finish,
    stop_reason: null,
    token_ids: null,
    prompt_logprobs: null,
    prompt_token_ids: null,
    routed_experts: null,
  }));
  return JSON.stringify({
    id: envelope.id,
    object: "text_completion",
    created: envelope.created,
    model: envelope.model,
    choices,
    service_tier: null,
    system_fingerprint: FINGERPRINT,
    usage: fullUsage(counts),
    kv_transfer_params: null,
    ec_transfer_params: null,
    metrics: null,
  });
}

/** Body of an answer to /v1/chat/completions. */
export function chatCompletion(envelope: Envelope, texts: readonly string[], finish: string, counts: Usage): string {
  const choices = texts.map((content, index) => ({
    index,
    message: { role: "assistant", content, refusal: null, annotations: null, audio: null, function_call: null, reasoning: null },
    logprobs: null,
    finish_reason: finish,
    stop_reason: null,
    token_ids: null,
    routed_experts: null,
  }));
  return JSON.stringify({
    id: envelope.id,
    object: "chat.completion",
    created: envelope.created,
    model: envelope.model,
    choices,
    service_tier: null,
    system_fingerprint: FINGERPRINT,
    usage: fullUsage(counts),
    prompt_logprobs: null,
    prompt_token_ids: null,
    prompt_text: null,
    kv_transfer_params: null,
    ec_transfer_params: null,
    metrics: null,
  });
}

/** Makes the events of one stream. */
export interface Events {
  /** Before the first token. */
  start(index: number): string;
  token(index: number, text: string): string;
  /** The last token carries the reason; the fingerprint too, unless a usage event follows. */
  last(index: number, text: string, finish: string): string;
  usage(counts: Usage): string;
}

/** A server-sent event. */
export function event(data: string): string {
  return `data: ${data}\n\n`;
}

export const DONE = "data: [DONE]\n\n";

function opening({ id, created, model }: Envelope, object: string): string {
  return `{"id":${JSON.stringify(id)},"object":"${object}","created":${created},"model":${JSON.stringify(model)},"choices":[`;
}

/** Events are put together from strings: a stream repeats all but the text, and load tests make millions of them. */
export function completionEvents(envelope: Envelope, includeUsage: boolean): Events {
  const open = opening(envelope, "text_completion");
  const fingerprint = includeUsage ? "" : `,"system_fingerprint":"${FINGERPRINT}"`;
  const choice = (index: number, text: string, finish: string): string =>
    `{"index":${index},"text":${JSON.stringify(text)},"logprobs":null,"finish_reason":${finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}`;
  return {
    start: () => "",
    token: (index, text) => event(`${open}${choice(index, text, "null")}]}`),
    last: (index, text, finish) => event(`${open}${choice(index, text, `"${finish}"`)}]${fingerprint}}`),
    usage: (counts) => event(`${open}],"usage":${JSON.stringify(usage(counts))},"system_fingerprint":"${FINGERPRINT}"}`),
  };
}

export function chatEvents(envelope: Envelope, includeUsage: boolean): Events {
  const open = opening(envelope, "chat.completion.chunk");
  const fingerprint = includeUsage ? "" : `,"system_fingerprint":"${FINGERPRINT}"`;
  const choice = (index: number, text: string, finish: string, stop: string): string =>
    `{"index":${index},"delta":{"content":${JSON.stringify(text)}},"logprobs":null,"finish_reason":${finish}${stop},"token_ids":null}`;
  return {
    start: (index) =>
      event(
        `${open}{"index":${index},"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}`,
      ),
    token: (index, text) => event(`${open}${choice(index, text, "null", "")}]}`),
    last: (index, text, finish) => event(`${open}${choice(index, text, `"${finish}"`, ',"stop_reason":null')}]${fingerprint}}`),
    usage: (counts) => event(`${open}],"usage":${JSON.stringify(usage(counts))},"system_fingerprint":"${FINGERPRINT}"}`),
  };
}

/** One line of `/v1/models`. */
export interface ModelCard {
  readonly id: string;
  readonly root: string;
  readonly parent: string | null;
  readonly maxModelLen: number | null;
}

/** Body of `/v1/models`. */
export function modelList(cards: readonly ModelCard[]): string {
  const created = nowSeconds();
  const data = cards.map(({ id, root, parent, maxModelLen }) => ({
    id,
    object: "model",
    created,
    owned_by: "vllm",
    root,
    parent,
    max_model_len: maxModelLen,
    permission: [
      {
        id: `modelperm-${randomId()}`,
        object: "model_permission",
        created,
        allow_create_engine: false,
        allow_sampling: true,
        allow_logprobs: true,
        allow_search_indices: false,
        allow_view: true,
        allow_fine_tuning: false,
        organization: "*",
        group: null,
        is_blocking: false,
      },
    ],
  }));
  return JSON.stringify({ object: "list", data });
}

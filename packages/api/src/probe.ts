/** A request of one token under an adapter's name, which shows that an engine does not only list it. */
export const PROBE = { path: "/v1/completions", timeoutMs: 30_000 } as const;

/** The request's body. */
export function probeRequest(name: string): object {
  return { model: name, prompt: "hello", max_tokens: 1, temperature: 0 };
}

/** What an engine's answer to it says. */
export type ProbeVerdict =
  | { readonly kind: "served" }
  /** The model's task has no completions: it embeds, scores or transcribes. */
  | { readonly kind: "notNeeded" }
  | { readonly kind: "failed"; readonly message: string };

/**
 * Reads an answer of vLLM: one without the route says `Not Found` and no more, since 0.11 for every model that does not generate text; before,
 * the route was there and refused in words.
 *
 * @param text - the engine's own words in the body of a refusal
 */
export function probeVerdict(status: number, text: string): ProbeVerdict {
  if (status === 200) return { kind: "served" };
  if (status === 404 && text === "Not Found") return { kind: "notNeeded" };
  if ([400, 404, 501].includes(status) && /does not support (the )?Completions? API/i.test(text)) return { kind: "notNeeded" };
  const what = `the engine lists the adapter, and answers a request of one token under its name with HTTP ${status}: ${text.replaceAll(/\s+/g, " ").slice(0, 300)}`;
  return { kind: "failed", message: `${what}; it is tried again. Look into the engine's log; ${PROBE_OFF}` };
}

/** What to say of an engine that gave no answer in time. */
export function probeTimedOut(): string {
  return `${NO_ANSWER} within ${PROBE.timeoutMs / 1000} s: it is tried again. See how much the engine has to do; ${PROBE_OFF}`;
}

/** Whether a message tells of no answer in time, which an engine that has much to do gives of any content. */
export function isProbeTimeout(message: string): boolean {
  return message.includes(NO_ANSWER);
}

const NO_ANSWER = "the engine lists the adapter, and does not answer a request of one token under its name";
const PROBE_OFF = 'a model that cannot answer such requests needs the annotation adapter.model.aibrix.ai/probe: "off"';

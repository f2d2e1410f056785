import type { SmokeCheck } from "@aibrix/api";

/** What an engine is asked for a check. Pure. */
export function smokeRequest(
  model: string,
  { prompt, messages, max_tokens }: SmokeCheck,
): { readonly path: string; readonly body: object } {
  const how = { model, max_tokens, temperature: 0 };
  return messages === undefined
    ? { path: "/v1/completions", body: { ...how, prompt } }
    : { path: "/v1/chat/completions", body: { ...how, messages } };
}

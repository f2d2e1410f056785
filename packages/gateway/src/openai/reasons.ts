import { REASONS } from "@aibrix/api";

/**
 * Why an adapter is not served, in fixed words: what a runtime or a controller says beside its reason is for those who run it, and may
 * name hosts and files.
 *
 * @param state - such as `Loading`
 * @param reason - a key of {@link REASONS}, or another single word
 */
export function whyNotServing(state: string, reason: string | undefined): string {
  if (reason === undefined) return `it is ${state}`;
  const sentence = (REASONS as Readonly<Record<string, string>>)[reason];
  return sentence === undefined ? `it is ${state} (${reason})` : `it is ${state}: ${sentence} (${reason})`;
}

import type { SmokeCheck } from "@aibrix/api";
import { RE2JS, RE2JSException } from "re2js";

/** What came of a prompt: an answer, or none in time. */
export type SmokeAnswer = { readonly status: number; readonly body: string; readonly latencyMs: number } | "timeout";

/** How much of a text is told. */
const SHOWN = 200;

/**
 * Whether an answer is as expected. Pure.
 *
 * @param number - which of the checks it is, from 1
 * @returns what was expected and what came, in words; `undefined` where it passes
 */
export function judge(check: SmokeCheck, number: number, answer: SmokeAnswer): string | undefined {
  const wrong = shortcoming(check, answer);
  return wrong === undefined ? undefined : `${smokeTitle(check, number)} failed: ${wrong}`;
}

/** How a check is named to people. */
export function smokeTitle({ name }: SmokeCheck, number: number): string {
  return name === undefined ? `check ${number}` : `check ${number} (${name})`;
}

function shortcoming({ expect, messages }: SmokeCheck, answer: SmokeAnswer): string | undefined {
  const { status, not_empty, contains, matches, max_latency_ms } = expect;
  if (answer === "timeout") return `expected an answer within ${max_latency_ms} ms, and none came`;
  if (answer.status !== status) return `expected HTTP ${status}, got ${answer.status}: ${shown(answer.body)}`;
  if (answer.latencyMs > max_latency_ms)
    return `expected an answer within ${max_latency_ms} ms, it took ${Math.round(answer.latencyMs)} ms`;
  const text = status === 200 ? generated(answer.body, messages !== undefined) : answer.body;
  if (text === undefined) return `expected text, got something else: ${shown(answer.body)}`;
  if (not_empty && text.trim() === "") return `expected a text that is not empty, got ${shown(text)}`;
  if (contains !== undefined && !text.includes(contains)) return `expected a text with ${shown(contains)} in it, got ${shown(text)}`;
  if (matches !== undefined && !RE2JS.compile(matches).matcher(text).find())
    return `expected a text that matches ${shown(matches)}, got ${shown(text)}`;
  return undefined;
}

/** The text of an answer of OpenAI's form; `undefined` where it has another form. */
function generated(body: string, isChat: boolean): string | undefined {
  try {
    const { choices } = JSON.parse(body) as { choices?: readonly { text?: unknown; message?: { content?: unknown } }[] };
    const text = isChat ? choices?.[0]?.message?.content : choices?.[0]?.text;
    // A chat's answer without content is an empty one.
    return text === null ? "" : typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
}

/**
 * What is wrong with the regular expressions of checks; `undefined` where nothing is. They are of RE2's dialect, which takes time in proportion to
 * the text, whatever somebody writes.
 */
export function badPattern(checks: readonly SmokeCheck[]): string | undefined {
  for (const [i, check] of checks.entries()) {
    try {
      if (check.expect.matches !== undefined) RE2JS.compile(check.expect.matches);
    } catch (error) {
      if (!(error instanceof RE2JSException)) throw error;
      return `${smokeTitle(check, i + 1)}: matches is no regular expression of RE2's dialect: ${error.message}`;
    }
  }
  return undefined;
}

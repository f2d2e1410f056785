import { expect } from "vitest";
import type { Answer, Client } from "../http.ts";
import type { ContractTarget, EngineProcess } from "../target.ts";
import type { World } from "../world.ts";

/** What a group of cases works with. Getters, because the engine starts after the cases are declared. */
export interface Suite {
  readonly target: ContractTarget;
  readonly world: World;
  readonly engine: EngineProcess;
  readonly client: Client;
}

/** Name of the base model. */
export const BASE = "tiny";
/** Context of the engines, in tokens. */
export const MAX_MODEL_LEN = 256;
/** Highest rank that the engines take. */
export const MAX_LORA_RANK = 8;

export const JSON_TYPE = "application/json";
export const EVENTS_TYPE = "text/event-stream; charset=utf-8";

/** An answer must be this error. `message` is exact unless it is a pattern. */
export function expectError(answer: Answer, status: number, type: string, message: string | RegExp, param: string | null = null): void {
  expect({ status: answer.status, contentType: answer.contentType }, answer.text).toEqual({ status, contentType: JSON_TYPE });
  const expected = { message: typeof message === "string" ? message : expect.stringMatching(message), type, param, code: status };
  expect(JSON.parse(answer.text)).toEqual({ error: expected });
}

/** An answer must be exactly this. */
export function expectAnswer(answer: Answer, status: number, contentType: string | null, text: string): void {
  expect({ status: answer.status, contentType: answer.contentType, text: answer.text }).toEqual({ status, contentType, text });
}

/** What the worker raised, as it reaches the caller of a load. */
export function workerMessage(reason: string): string {
  return `Call to add_lora method failed: Worker failed with error '${reason}', please check the stack trace above for the root cause`;
}

/** Calls until `done` says so. The deadline is for a hanging engine, not for a slow one. */
export async function until<T>(read: () => Promise<T>, done: (value: T) => boolean, what: string): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await read();
    if (done(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what} did not happen; last seen: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A prompt of more than `tokens` tokens, whatever the engine's tokenizer is. */
export async function promptOver(client: Client, tokens: number): Promise<string> {
  let prompt = "";
  for (;;) {
    prompt += "write a function that adds two numbers and returns the sum ";
    const answer = await client.call("/tokenize", { json: { model: BASE, prompt } });
    if ((JSON.parse(answer.text) as { count: number }).count > tokens) return prompt;
  }
}

/** Values of one metric by their labels, as written on a page. */
export function series(page: string, name: string): Map<string, number> {
  const lines = page.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return new Map(lines.map((line) => [line.slice(name.length, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

/** The page with all metrics. */
export async function metricsPage(client: Client): Promise<string> {
  return (await client.call("/metrics")).text;
}

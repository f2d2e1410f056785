import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";

/** File that holds an adapter's weights. */
export const WEIGHTS_FILE = "adapter_model.safetensors";
/** Characters of a digest that answers show. */
export const DIGEST_CHARACTERS = 12;
/** Stands in the place of a digest when old and new weights of one name and path were mixed (see prefix-cache.ts). */
export const MIXED = "mixed";

/** What an answer's text says about where it came from. */
export interface ParsedAnswer {
  /** The model as it was asked for: an adapter's name, or the base model's. */
  readonly model: string;
  /** First 12 hex characters of the SHA-256 of the weights, "mixed", or undefined for the base model. */
  readonly digest: string | undefined;
  /** Tokens of the text, the label included. */
  readonly tokens: number;
  /** False when a token was made by other weights than the label says: the weights changed under a running request. */
  readonly consistent: boolean;
}

/**
 * The digest by which an answer names its weights: first 12 hex characters of the SHA-256 of `adapter_model.safetensors`.
 * @throws the file system's error if the file cannot be read
 */
export async function adapterDigest(directory: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(join(directory, WEIGHTS_FILE))) hash.update(chunk as Buffer);
  return hash.digest("hex").slice(0, DIGEST_CHARACTERS);
}

/**
 * The text of one generated token. The first one names the model and its weights, each later one the first
 * characters of the digest and its own number, so that every token shows which weights made it.
 */
export function tokenText(index: number, model: string, digest: string | undefined): string {
  if (index === 0) return digest === undefined ? `[${model} base]` : `[${model} sha256:${digest}]`;
  return ` ${digest?.slice(0, 4) ?? "base"}.${index}`;
}

const ANSWER = /^\[(?<model>.+) (?:base|sha256:(?<digest>[0-9a-f]{12}|mixed))\](?<rest>(?: [0-9a-z]{4}\.\d+)*)$/s;

/** Reads a text that this engine generated; undefined for any other text. */
export function parseAnswer(text: string): ParsedAnswer | undefined {
  const groups = ANSWER.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const digest = groups.digest;
  const rest = groups.rest?.split(" ").slice(1) ?? [];
  const expected = rest.map((_, i) => tokenText(i + 1, "", digest).slice(1));
  return { model: groups.model ?? "", digest, tokens: rest.length + 1, consistent: rest.every((token, i) => token === expected[i]) };
}

/** Tokens of a prompt: one per four characters, at least one. Counts, not contents, are what callers see. */
export function countTokens(text: string): number {
  return Math.max(1, Math.ceil(text.length / 4));
}

/** Token numbers of a text, in a vocabulary of 512. */
export function tokenIds(text: string): number[] {
  const ids: number[] = [];
  for (let at = 0; at < Math.max(1, text.length); at += 4) {
    let id = 7;
    for (let i = at; i < Math.min(at + 4, text.length); i++) id = (id * 31 + text.charCodeAt(i)) % 512;
    ids.push(id);
  }
  return ids;
}

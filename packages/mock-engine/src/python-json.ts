/** Where and why Python's json module would have stopped reading a text. */
export interface JsonProblem {
  readonly why: string;
  /** Characters before the place. */
  readonly at: number;
}

/** Translates an error of `JSON.parse`. Node words it otherwise and does not always say where. */
export function jsonProblem(error: unknown, text: string): JsonProblem {
  const message = error instanceof Error ? error.message : "";
  const position = /at position (\d+)/.exec(message)?.[1];
  const token = /^Unexpected token '(.+?)'/s.exec(message)?.[1];
  const at = position === undefined ? (token === undefined ? text.length : Math.max(0, text.lastIndexOf(token))) : Number(position);
  if (message.startsWith("Expected property name") || message.startsWith("Expected double-quoted")) {
    return { at, why: "Expecting property name enclosed in double quotes" };
  }
  if (message.startsWith("Expected ','")) return { at, why: "Expecting ',' delimiter" };
  if (message.startsWith("Expected ':'")) return { at, why: "Expecting ':' delimiter" };
  if (message.startsWith("Unexpected non-whitespace")) return { at, why: "Extra data" };
  if (message.startsWith("Unterminated string")) return { at: text.lastIndexOf('"'), why: "Unterminated string starting at" };
  return { at, why: "Expecting value" };
}

/** The message of Python's JSONDecodeError. */
export function describeProblem({ why, at }: JsonProblem, text: string): string {
  const before = text.slice(0, at).split("\n");
  return `${why}: line ${before.length} column ${(before.at(-1)?.length ?? 0) + 1} (char ${at})`;
}

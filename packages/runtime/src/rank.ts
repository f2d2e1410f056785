/** A `--max-lora-rank` of a command line, or `undefined` for what is none. */
export function readRank(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,4}$/.test(text) ? Number(text) : undefined;
}

/** Gauges whose sum is what an engine has to do (vLLM's names). */
const GAUGE = /^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? (\S+)/;

/** How their lines begin. Only these are made text: a page has a thousand others. */
const BEGINNING = Buffer.from("vllm:num_requests_");

const NEWLINE = 0x0a;

/**
 * Reads the number of requests that run or wait out of an engine's metrics page (Prometheus' text format).
 *
 * @returns `undefined` where the page does not say
 */
export function requestsIn(page: Buffer): number | undefined {
  let sum: number | undefined;
  for (let at = page.indexOf(BEGINNING); at !== -1; at = page.indexOf(BEGINNING, at + BEGINNING.length)) {
    if (at > 0 && page[at - 1] !== NEWLINE) continue;
    const end = page.indexOf(NEWLINE, at);
    const value = GAUGE.exec(page.toString("latin1", at, end === -1 ? page.length : end))?.[1];
    const requests = Number(value);
    if (Number.isFinite(requests)) sum = (sum ?? 0) + requests;
  }
  return sum;
}

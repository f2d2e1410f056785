/** Gauges whose sum is what an engine has to do (vLLM's names). */
const GAUGE = /^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? (\S+)/gm;

/**
 * Reads the number of requests that run or wait out of an engine's metrics page (Prometheus' text format).
 *
 * @returns `undefined` where the page does not say
 */
export function requestsIn(page: string): number | undefined {
  let sum: number | undefined;
  for (const [, value] of page.matchAll(GAUGE)) {
    const requests = Number(value);
    if (Number.isFinite(requests)) sum = (sum ?? 0) + requests;
  }
  return sum;
}

import { span } from "../stack/time.ts";
import type { PartContext } from "./part-context.ts";

const STILL_MS = 10_000;

/** Says what is being done, again every ten seconds while it lasts, and how long it took. */
export async function withProgress<T>(what: string, context: PartContext, work: () => Promise<T>): Promise<T> {
  const startMs = performance.now();
  context.log(`${what} ...`);
  const still = setInterval(() => context.log(`${what}: ${span(performance.now() - startMs)} so far`), STILL_MS);
  try {
    const result = await work();
    context.log(`${what}: done in ${span(performance.now() - startMs)}`);
    return result;
  } finally {
    clearInterval(still);
  }
}

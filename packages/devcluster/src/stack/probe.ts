import { deadline, until } from "./time.ts";

const PROBE_EVERY_MS = 50;
const PROBE_WITHIN_MS = 2_000;

/** Resolves once a GET answers 2xx (with `anyStatus`: once it answers at all). Rejects only when the signal aborts. */
export async function untilAnswers(url: string, anyStatus: boolean, signal: AbortSignal): Promise<void> {
  const answered = await until(
    async () => {
      const response = await fetch(url, { signal: deadline(PROBE_WITHIN_MS, signal) });
      await response.body?.cancel();
      return anyStatus || response.ok;
    },
    PROBE_EVERY_MS,
    signal,
  );
  if (!answered) throw signal.reason;
}

/** Reads JSON; rejects for any other answer than 2xx. */
export async function getJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { signal: deadline(PROBE_WITHIN_MS, signal) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.json();
}

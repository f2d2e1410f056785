import { BOOKMARK_PERIOD_MS, RUNTIME_PATHS, type WatchEvent } from "@aibrix/api";
import { sleep } from "./time.ts";

const WATCH_PATH = `${RUNTIME_PATHS.adapters}?watch=true`;
const SILENCE_MS = 3 * BOOKMARK_PERIOD_MS;

const RECONNECT_MS = 250;

/** Follows a runtime's watch, over reconnects, until the signal aborts. Never rejects. */
export async function followRuntime(url: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await watchOnce(url, onEvent, signal);
    } catch {
      // The runtime is away or the stream broke; the next one begins with a whole snapshot.
    }
    await sleep(RECONNECT_MS, signal);
  }
}

async function watchOnce(url: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await fetch(url + WATCH_PATH, { signal: AbortSignal.any([signal, silence.signal]) });
    if (!response.ok || response.body === null) return;
    let rest = "";
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") onEvent(JSON.parse(line) as WatchEvent);
    }
  } finally {
    clearTimeout(timer);
  }
}

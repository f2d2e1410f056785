import { BOOKMARK_PERIOD_MS, type WatchEvent } from "@aibrix/api";
import type { Feed } from "../feed.ts";

/** What a reader may leave unread beyond the snapshot, in bytes; it is cut off then, and starts anew with a snapshot. */
const MAX_BEHIND_BYTES = 4 * 1024 * 1024;

/** The part of an HTTP response that a watch needs. */
export interface Sink {
  readonly writableLength: number;
  write(text: string): unknown;
  end(): unknown;
  destroy(): unknown;
}

/** One reader of `GET /v1/lora_adapters?watch=true`: a line per event, the first a snapshot. */
export class WatchStream {
  readonly #sink: Sink;
  readonly #onBehind: () => void;
  #limitBytes = MAX_BEHIND_BYTES;
  #ended = false;

  constructor(sink: Sink, onBehind: () => void) {
    this.#sink = sink;
    this.#onBehind = onBehind;
  }

  /** Writes until `signal` aborts or the reader is cut off. */
  follow(feed: Feed, signal: AbortSignal): void {
    const snapshot = line({ type: "SNAPSHOT", object: feed.snapshot() });
    this.#limitBytes += Buffer.byteLength(snapshot);
    this.#sink.write(snapshot);
    const timer = setInterval(() => this.#send({ type: "BOOKMARK" }, stop), BOOKMARK_PERIOD_MS);
    const unsubscribe = feed.follow((event) => this.#send(event, stop));
    const stop = () => {
      if (this.#ended) return;
      this.#ended = true;
      clearInterval(timer);
      unsubscribe();
    };
    const end = () => {
      stop();
      this.#sink.end();
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  }

  #send(event: WatchEvent, stop: () => void): void {
    if (this.#ended) return;
    this.#sink.write(line(event));
    if (this.#sink.writableLength <= this.#limitBytes) return;
    stop();
    this.#onBehind();
    this.#sink.destroy();
  }
}

function line(event: WatchEvent): string {
  return `${JSON.stringify(event)}\n`;
}

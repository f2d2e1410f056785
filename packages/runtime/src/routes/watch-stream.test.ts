import type { AdapterStatus, WatchEvent } from "@aibrix/api";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Feed } from "../feed.ts";
import { WatchStream } from "./watch-stream.ts";

class FakeSink {
  written: string[] = [];
  ended = false;
  destroyed = false;
  /** Whether the reader takes what is written. */
  reads = true;
  get writableLength(): number {
    return this.reads ? 0 : Buffer.byteLength(this.written.join(""));
  }
  write(text: string): void {
    this.written.push(text);
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  get events(): WatchEvent[] {
    return this.written.map((line) => {
      expect(line).toMatch(/^[^\n]+\n$/);
      return JSON.parse(line) as WatchEvent;
    });
  }
}

const ENGINE = { url: "http://e", kind: "vllm", ready: true, base_models: [] };
const adapter = (name: string, message = ""): AdapterStatus => ({
  lora_name: name,
  artifact_url: "/x",
  origin: "api",
  state: "Pending",
  serving: null,
  attempts: 0,
  message,
});

let feed: Feed;
let sink: FakeSink;
let abort: AbortController;
let behind: number;

beforeEach(() => {
  vi.useFakeTimers();
  feed = new Feed(ENGINE);
  sink = new FakeSink();
  abort = new AbortController();
  behind = 0;
});
afterEach(() => {
  abort.abort();
  vi.useRealTimers();
});
const follow = () => new WatchStream(sink, () => (behind += 1)).follow(feed, abort.signal);

test("begins with a snapshot and goes on with every change", () => {
  feed.setAdapter(adapter("b"));
  feed.setAdapter(adapter("a"));
  follow();
  feed.setAdapter(adapter("a", "new"));
  feed.setAdapter(adapter("a", "new"));
  feed.removeAdapter("b");
  feed.removeAdapter("b");
  feed.setEngine({ ...ENGINE, ready: false });
  feed.setProblems([{ file: "f", reason: "InvalidManifest", message: "m" }]);
  const [first, ...rest] = sink.events;
  expect(first).toEqual({
    type: "SNAPSHOT",
    object: { instance_id: expect.any(String), engine: ENGINE, adapters: [adapter("a"), adapter("b")], manifest_problems: [] },
  });
  expect(rest).toEqual([
    { type: "ADAPTER", object: adapter("a", "new") },
    { type: "DELETED", lora_name: "b" },
    { type: "ENGINE", object: { ...ENGINE, ready: false } },
    { type: "MANIFESTS", object: [{ file: "f", reason: "InvalidManifest", message: "m" }] },
  ]);
});

test("shows every five seconds that it lives", () => {
  follow();
  vi.advanceTimersByTime(15_000);
  expect(sink.events.slice(1)).toEqual([{ type: "BOOKMARK" }, { type: "BOOKMARK" }, { type: "BOOKMARK" }]);
});

test("ends with the process, and is silent then", () => {
  const unsubscribed = vi.fn();
  const subscribe = feed.subscribe.bind(feed);
  vi.spyOn(feed, "subscribe").mockImplementation((subscriber) => {
    const end = subscribe(subscriber);
    return () => {
      end();
      unsubscribed();
    };
  });
  follow();
  abort.abort();
  feed.setAdapter(adapter("a"));
  vi.advanceTimersByTime(60_000);
  expect(sink.ended).toBe(true);
  expect(unsubscribed).toHaveBeenCalledOnce();
  expect(sink.events).toHaveLength(1);
});

test("a reader that falls behind is cut off; a snapshot alone, however large, is no reason", () => {
  for (let i = 0; i < 100; i += 1) feed.setAdapter(adapter(`a${i}`, "x".repeat(100_000)));
  sink.reads = false;
  follow();
  feed.setAdapter(adapter("a", "y"));
  expect(sink.destroyed).toBe(false);
  for (let i = 0; i < 100; i += 1) feed.setAdapter(adapter("a", `${i}`.repeat(50_000)));
  expect(sink.destroyed).toBe(true);
  expect(behind).toBe(1);
  const lines = sink.written.length;
  feed.setAdapter(adapter("a", "more"));
  expect(sink.written).toHaveLength(lines);
});

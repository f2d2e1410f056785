import type { KubeClient } from "./client.ts";
import { rfc3339Micro, truncate } from "./conditions.ts";
import { DelayedKeys } from "./delayed-keys.ts";
import { KubeError } from "./errors.ts";
import { apiVersionOf, EVENTS, type Resource } from "./resource.ts";
import { Deadline, sleep } from "./time.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { KubeEvent, KubeObject, Log, ObjectReference } from "./types.ts";

/** Something to tell about an object. */
export interface NewEvent {
  readonly type: "Normal" | "Warning";
  /** One word in CamelCase, for machines: `Loaded`. */
  readonly reason: string;
  /** What the program did or tried, in one word. */
  readonly action: string;
  /** A sentence for people; cut at 1,024 bytes, as the API wants. */
  readonly note: string;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Which program: `example.com/controller`. */
  readonly controller: string;
  /** Which process of it. */
  readonly instance: string;
  readonly log: Log;
  /** The same event again within this time is counted on the first one instead of told anew. 6 minutes where absent. */
  readonly seriesMs?: number;
  /** How long repetitions are gathered before the count is written, in milliseconds. 10 s where absent. */
  readonly gatherMs?: number;
  /** Events per object: so many at once, then `perSecond`. 25 and one in 20 s where absent. */
  readonly perObject?: { readonly burst: number; readonly perSecond: number };
  /** Called for each event that is left out. */
  readonly onDropped?: () => void;
}

interface Series {
  /** Which object it is about. */
  readonly object: string;
  readonly resource: Resource;
  readonly key: string;
  readonly event: KubeEvent;
  readonly firstMs: number;
  lastSeen: Date;
  count: number;
  /** What of `count` the API server knows. */
  written: number;
}

const MAX_SERIES = 4096;
/** Some for each of some thousand objects that change at once. */
const MAX_QUEUE = 10_000;
/** Of one object, so that a storm of one leaves room for the others. */
const MAX_QUEUE_OF_ONE = 100;
/** Sent at a time: one after the other, they would come minutes late where a thousand things happen at once. */
const SENDERS = 6;
const NOTE_MAX_BYTES = 1024;

/**
 * Tells events (`events.k8s.io/v1`) in the background. Telling never fails and never waits: what comes too often for an object, or too
 * fast for the API server, is left out and counted.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  /** Oldest first. */
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #queue = new Map<string, Series>();
  /** How many of the queue are about an object. */
  readonly #waiting = new Map<string, number>();
  /** A series is sent by one sender at a time: its count comes after it. */
  readonly #inFlight = new Set<string>();
  readonly #gathering: DelayedKeys;
  readonly #senders = new Set<Promise<void>>();
  #dropped = 0;
  readonly #stop = new AbortController();

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#gathering = new DelayedKeys((key) => {
      const series = this.#series.get(key);
      if (series !== undefined) this.#enqueue(series);
    });
  }

  /** How many events were left out. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Tells an event about an object. */
  record<T extends KubeObject>(resource: Resource<T>, object: T, event: NewEvent): void {
    if (this.#stop.signal.aborted) return;
    const { namespace, name, uid } = object.metadata;
    const nowMs = performance.now();
    const key = JSON.stringify([uid ?? [resource.plural, namespace, name], event.type, event.reason, event.action, event.note]);
    const series = this.#series.get(key);
    if (series !== undefined && nowMs - series.firstMs < (this.#options.seriesMs ?? 360_000)) {
      series.count++;
      series.lastSeen = new Date();
      this.#gathering.set(key, this.#options.gatherMs ?? 10_000);
      return;
    }
    const about = uid ?? `${namespace}/${name}`;
    if (!this.#bucket(about, nowMs).tryTake(nowMs)) {
      this.#drop();
      return;
    }
    const now = new Date();
    const fresh: Series = {
      object: about,
      resource,
      key,
      event: this.#toEvent(resource, object, event, now),
      firstMs: nowMs,
      lastSeen: now,
      count: 1,
      written: 0,
    };
    this.#series.delete(key);
    this.#series.set(key, fresh);
    const oldest = this.#series.keys().next();
    if (this.#series.size > MAX_SERIES && oldest.done === false) this.#series.delete(oldest.value);
    this.#enqueue(fresh);
  }

  /** Sends what waits, gathered counts too, and takes no more. For the end of a program; bounded by the signal. */
  async close(signal: AbortSignal): Promise<void> {
    this.#gathering.clear();
    for (const series of this.#series.values()) if (series.count > series.written) this.#enqueue(series);
    const onAbort = () => this.#stop.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    await Promise.all(this.#senders);
    signal.removeEventListener("abort", onAbort);
    this.#stop.abort();
  }

  #bucket(object: string, nowMs: number): TokenBucket {
    const { burst, perSecond } = this.#options.perObject ?? { burst: 25, perSecond: 1 / 20 };
    let bucket = this.#buckets.get(object);
    if (bucket === undefined) {
      // A full bucket says no more than none.
      if (this.#buckets.size >= MAX_SERIES) for (const [k, b] of this.#buckets) if (b.isFull(nowMs)) this.#buckets.delete(k);
      if (this.#buckets.size >= MAX_SERIES) this.#buckets.clear();
      bucket = new TokenBucket(perSecond, burst, nowMs);
      this.#buckets.set(object, bucket);
    }
    return bucket;
  }

  #toEvent(resource: Resource, object: KubeObject, { type, reason, action, note }: NewEvent, now: Date): KubeEvent {
    const { namespace = "default", name, uid, resourceVersion } = object.metadata;
    const regarding: ObjectReference = {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      name,
      ...(object.metadata.namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    const unique = `${now.getTime().toString(16)}${Math.floor(Math.random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0")}`;
    return {
      metadata: { namespace, name: `${name.slice(0, 220)}.${unique}` },
      eventTime: rfc3339Micro(now),
      reportingController: this.#options.controller,
      reportingInstance: truncate(this.#options.instance, 128),
      type,
      reason,
      action,
      regarding,
      note: cutBytes(note, NOTE_MAX_BYTES),
    };
  }

  #enqueue(series: Series): void {
    const waiting = this.#waiting.get(series.object) ?? 0;
    if (!this.#queue.has(series.key)) {
      const isFull = this.#queue.size >= MAX_QUEUE || waiting >= MAX_QUEUE_OF_ONE;
      // What is being sent is told anyway; only its count comes on top.
      if (isFull && !this.#inFlight.has(series.key)) {
        this.#series.delete(series.key);
        this.#drop();
        return;
      }
      this.#waiting.set(series.object, waiting + 1);
    }
    this.#queue.set(series.key, series);
    if (this.#senders.size >= SENDERS) return;
    const sender: Promise<void> = this.#sendAll().finally(() => void this.#senders.delete(sender));
    this.#senders.add(sender);
  }

  #drop(): void {
    this.#dropped++;
    this.#options.onDropped?.();
  }

  /** The oldest that nobody is sending. */
  #next(): Series | undefined {
    for (const [key, series] of this.#queue) {
      if (this.#inFlight.has(key)) continue;
      this.#queue.delete(key);
      const waiting = (this.#waiting.get(series.object) ?? 1) - 1;
      if (waiting === 0) this.#waiting.delete(series.object);
      else this.#waiting.set(series.object, waiting);
      return series;
    }
    return undefined;
  }

  async #sendAll(): Promise<void> {
    const { signal } = this.#stop;
    for (let series = this.#next(); series !== undefined && !signal.aborted; series = this.#next()) {
      if (series.count === series.written) continue; // Sent, or given up, since it was put in.
      this.#inFlight.add(series.key);
      try {
        await this.#sendOften(series, signal);
      } finally {
        this.#inFlight.delete(series.key);
      }
    }
  }

  async #sendOften(series: Series, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; !(await this.#send(series, signal)); attempt++) {
      if (attempt < 3 && (await sleep(1000 * attempt, signal))) continue;
      this.#drop();
      return;
    }
  }

  /** Returns false where a later try may succeed. */
  async #send(series: Series, signal: AbortSignal): Promise<boolean> {
    const { client, log } = this.#options;
    const { event, count, lastSeen } = series;
    using deadline = new Deadline(signal).set(10_000, "the API server did not answer in time");
    try {
      if (series.written > 0) {
        const patch = { series: { count, lastObservedTime: rfc3339Micro(lastSeen) } };
        await client.mergePatch(EVENTS, event.metadata, patch, {}, deadline.signal);
      } else {
        const repeated = count > 1 ? { series: { count, lastObservedTime: rfc3339Micro(lastSeen) } } : {};
        await client.create(EVENTS, { ...event, ...repeated }, {}, deadline.signal);
      }
      series.written = count;
      return true;
    } catch (error) {
      if (error instanceof KubeError && error.alreadyExists) {
        series.written = 1;
        return true;
      }
      // The first event is gone by age: the next one of its kind is told anew. A namespace that goes takes no events.
      const final = error instanceof KubeError && (!error.retryable || error.status === 403);
      if (final) {
        this.#series.delete(series.key);
        series.count = series.written;
      }
      log.debug({ err: error, reason: event.reason, regarding: event.regarding.name }, "an event could not be told");
      return final;
    }
  }
}

/** A text of at most `max` bytes of UTF-8, with an ellipsis where it was longer. */
function cutBytes(text: string, max: number): string {
  if (Buffer.byteLength(text) <= max) return text;
  let cut = truncate(text, max);
  while (Buffer.byteLength(cut) > max)
    cut = truncate(cut, Math.min(cut.length - 1, Math.floor((cut.length * max) / Buffer.byteLength(cut))));
  return cut;
}

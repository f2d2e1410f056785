/** Half of what was sent to an engine, and is in no report of its, is forgotten after this time, in milliseconds. */
const HALF_LIFE_MS = 2_000;

/** A report older than this says nothing any more, in milliseconds. */
const STALE_MS = 10_000;

/**
 * An engine is asked again after this time, in milliseconds, though no choice was made by what it reported last: less than what a report is
 * good for, and less than the five seconds after which vLLM ends a connection that says nothing.
 */
const REST_MS = 4_000;

/** Above this number, engines that are long gone are forgotten. */
const MAX_REMEMBERED = 1_024;

/** A number that fades with time. */
class Fading {
  #value = 0;
  #atMs = 0;

  at(nowMs: number): number {
    return this.#value === 0 ? 0 : this.#value * 0.5 ** ((nowMs - this.#atMs) / HALF_LIFE_MS);
  }

  add(value: number, nowMs: number): void {
    this.#value = this.at(nowMs) + value;
    this.#atMs = nowMs;
  }

  clear(): void {
    this.#value = 0;
  }
}

interface Load {
  /** Requests that the engine reported as running or waiting. */
  reported: number;
  reportedAtMs: number;
  askedAtMs: number;
  /** When a choice was made by this, or a request was sent without one. */
  comparedAtMs: number;
  /** What was sent before it was asked last, and after. */
  readonly sentBefore: Fading;
  readonly sent: Fading;
  usedAtMs: number;
}

/**
 * How busy each engine is: what it reported last, and what was sent to it since. A request's end is not seen (Envoy closes the stream
 * before), so what was sent counts less and less with time.
 */
export class Loads {
  readonly #loads = new Map<string, Load>();

  /** Requests that an engine probably has, by its address (`ip:port`). A choice is made by that: the engine is to be asked again soon. */
  of(address: string, nowMs: number): number {
    const load = this.#loads.get(address);
    if (load === undefined) return 0;
    load.comparedAtMs = nowMs;
    const reported = nowMs - load.reportedAtMs > STALE_MS ? 0 : load.reported;
    return reported + load.sentBefore.at(nowMs) + load.sent.at(nowMs);
  }

  /** Counts a request that goes to an engine. */
  onSent(address: string, nowMs: number): void {
    const load = this.#load(address, nowMs);
    load.sent.add(1, nowMs);
    // Where it was the only one to be sent to, nothing was compared, and others will be compared with it.
    load.comparedAtMs = nowMs;
  }

  /** Whether an engine should be asked: a choice was made or a request sent since it was asked last, or that is long ago. */
  isDue(address: string, nowMs: number): boolean {
    const load = this.#loads.get(address);
    return load === undefined || load.comparedAtMs >= load.askedAtMs || nowMs - load.askedAtMs >= REST_MS;
  }

  /** Notes that an engine is asked now: what was sent until now will be in its report. */
  onAsked(address: string, nowMs: number): void {
    const load = this.#load(address, nowMs);
    load.askedAtMs = nowMs;
    const { sentBefore, sent } = load;
    sentBefore.add(sent.at(nowMs), nowMs);
    sent.clear();
  }

  /** Takes an engine's own word: the requests that it runs or lets wait. */
  onReported(address: string, requests: number, nowMs: number): void {
    const load = this.#load(address, nowMs);
    load.reported = requests;
    load.reportedAtMs = nowMs;
    load.sentBefore.clear();
  }

  #load(address: string, nowMs: number): Load {
    let load = this.#loads.get(address);
    if (load === undefined) {
      if (this.#loads.size >= MAX_REMEMBERED) this.#forget(nowMs);
      const never = Number.NEGATIVE_INFINITY;
      load = {
        reported: 0,
        reportedAtMs: never,
        askedAtMs: never,
        comparedAtMs: never,
        sentBefore: new Fading(),
        sent: new Fading(),
        usedAtMs: nowMs,
      };
      this.#loads.set(address, load);
    }
    load.usedAtMs = nowMs;
    return load;
  }

  #forget(nowMs: number): void {
    for (const [address, { usedAtMs }] of this.#loads) if (nowMs - usedAtMs > 10 * HALF_LIFE_MS) this.#loads.delete(address);
  }
}

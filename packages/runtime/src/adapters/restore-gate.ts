import type { EngineView } from "../engine/observer.ts";

/** Longest time that adapters which must be put back keep a pod from being ready, in milliseconds. */
export const RESTORE_HOLD_MS = 60_000;

/**
 * Decides about `/ready`: the engine answers, and every adapter that has to be put back after a start (ours or the engine's) is in or has
 * failed, or has had a minute. An adapter that is declared while the engine serves holds nothing back.
 */
export class RestoreGate {
  readonly #onRestored: (ms: number) => void;
  readonly #now: () => number;
  #waitingFor: Set<string>;
  #readySinceMs: number | undefined;
  #bootId: string | undefined;

  /**
   * @param onRestored - called when what had to be put back is in or has failed, with the milliseconds since the engine answered
   * @param now - a clock that never jumps, in milliseconds
   */
  constructor(names: Iterable<string>, onRestored: (ms: number) => void = () => undefined, now: () => number = () => performance.now()) {
    this.#waitingFor = new Set(names);
    this.#onRestored = onRestored;
    this.#now = now;
  }

  /** @param declared - names that are to be put back if the engine has gone */
  onEngine(view: EngineView, declared: Iterable<string>): void {
    if (view.ready) {
      // One that was restarted between two looks was never seen away.
      const isAnother = this.#readySinceMs !== undefined && this.#bootId !== undefined && view.bootId !== this.#bootId;
      if (isAnother) this.#waitingFor = new Set(declared);
      if (isAnother || this.#readySinceMs === undefined) this.#readySinceMs = this.#now();
      this.#bootId = view.bootId ?? this.#bootId;
      return;
    }
    if (this.#readySinceMs !== undefined) this.#waitingFor = new Set(declared);
    this.#readySinceMs = undefined;
  }

  /** Why the pod should get no requests yet, or `undefined`. */
  notReady(view: EngineView, isSettled: (name: string) => boolean): string | undefined {
    if (!view.ready || this.#readySinceMs === undefined) return view.message ?? "the engine has not been reached yet";
    const sinceMs = this.#now() - this.#readySinceMs;
    const waited = this.#waitingFor.size > 0;
    for (const name of this.#waitingFor) if (isSettled(name)) this.#waitingFor.delete(name);
    if (waited && this.#waitingFor.size === 0) this.#onRestored(sinceMs);
    if (sinceMs >= RESTORE_HOLD_MS) this.#waitingFor.clear();
    if (this.#waitingFor.size === 0) return undefined;
    return `adapters are being put back: ${[...this.#waitingFor].slice(0, 20).join(", ")}`;
  }
}

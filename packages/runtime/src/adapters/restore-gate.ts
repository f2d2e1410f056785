import type { EngineView } from "../engine/observer.ts";

/** Longest time that adapters which must be put back keep a pod from being ready, in milliseconds. */
export const RESTORE_HOLD_MS = 60_000;
/** How long a controller has to connect and to declare adapters, once the engine of a new pod answers, in milliseconds. */
export const DECLARE_HOLD_MS = 3_000;

export interface RestoreGateOptions {
  /** Whether a controller follows, or may soon, which declares adapters by itself. */
  readonly watched?: () => boolean;
  /** Called when what had to be put back is in or has failed, with the milliseconds since the engine answered. */
  readonly onRestored?: (ms: number) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now?: () => number;
}

/**
 * Decides about `/ready`: the engine answers, and every adapter that has to be put back after a start (ours or the engine's) is in or has
 * failed, or has had a minute. So are adapters that are declared before the pod was ready: in a rolling update the pod that has served them so
 * far goes when this one is ready. One that is declared later holds nothing back.
 */
export class RestoreGate {
  readonly #watched: () => boolean;
  readonly #onRestored: (ms: number) => void;
  readonly #now: () => number;
  #waitingFor: Set<string>;
  #readySinceMs: number | undefined;
  #bootId: string | undefined;
  /** It has been ready since the engine answered. */
  #isOpen = false;
  /** It has been ready once. */
  #wasOpen = false;

  constructor(names: Iterable<string>, options: RestoreGateOptions = {}) {
    this.#waitingFor = new Set(names);
    this.#watched = options.watched ?? (() => false);
    this.#onRestored = options.onRestored ?? (() => undefined);
    this.#now = options.now ?? (() => performance.now());
  }

  /** An adapter is declared, and not in yet. */
  onDeclared(name: string): void {
    if (!this.#isOpen) this.#waitingFor.add(name);
  }

  /** @param declared - names that are to be put back if the engine has gone */
  onEngine(view: EngineView, declared: Iterable<string>): void {
    if (view.ready) {
      // One that was restarted between two looks was never seen away.
      const isAnother = this.#readySinceMs !== undefined && this.#bootId !== undefined && view.bootId !== this.#bootId;
      if (isAnother) this.#close(declared);
      if (isAnother || this.#readySinceMs === undefined) this.#readySinceMs = this.#now();
      this.#bootId = view.bootId ?? this.#bootId;
      return;
    }
    if (this.#readySinceMs !== undefined) this.#close(declared);
    this.#readySinceMs = undefined;
  }

  #close(declared: Iterable<string>): void {
    this.#waitingFor = new Set(declared);
    this.#isOpen = false;
  }

  /** Why the pod should get no requests yet, or `undefined`. */
  notReady(view: EngineView, isSettled: (name: string) => boolean): string | undefined {
    if (!view.ready || this.#readySinceMs === undefined) return view.message ?? "the engine has not been reached yet";
    const sinceMs = this.#now() - this.#readySinceMs;
    const waited = this.#waitingFor.size > 0;
    for (const name of this.#waitingFor) if (isSettled(name)) this.#waitingFor.delete(name);
    if (waited && this.#waitingFor.size === 0) this.#onRestored(sinceMs);
    if (sinceMs >= RESTORE_HOLD_MS) this.#waitingFor.clear();
    if (this.#waitingFor.size === 0) {
      if (!this.#wasOpen && sinceMs < DECLARE_HOLD_MS && this.#watched()) return "the controller may declare adapters yet";
      this.#isOpen = this.#wasOpen = true;
      return undefined;
    }
    return `adapters are being put back: ${[...this.#waitingFor].slice(0, 20).join(", ")}`;
  }
}

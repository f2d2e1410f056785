import type { EngineView } from "../engine/observer.ts";

/** Longest time that adapters which must be put back keep a pod from being ready, in milliseconds. */
export const RESTORE_HOLD_MS = 60_000;
/** How long a controller has to declare adapters, once the engine of a new pod answers and it follows, in milliseconds. */
export const DECLARE_HOLD_MS = 3_000;
/**
 * How long it has to connect, once the engine answers, in milliseconds. A network plugin that enforces policies may drop what comes to a new pod for
 * some seconds (kube-router 2.1: seen up to 10).
 */
export const CONNECT_HOLD_MS = 15_000;

/** Age up to which an engine that answers may belong to a pod that has only just started, in milliseconds. */
const NEW_ENGINE_MS = 60_000;

export interface RestoreGateOptions {
  /** Whether this may be a new pod of a controller, which declares adapters: one that was not ready before. */
  readonly isNewPod?: boolean;
  /** Whether an engine that answers at the first look has only just started, so that it has not served before. */
  readonly isNewEngine?: (view: EngineView) => boolean;
  /** Called when a new pod is ready for the first time. */
  readonly onFirstReady?: () => void;
  /** Called once per start, ours or the engine's, when what had to be put back is in or has failed, with the milliseconds since the engine answered. */
  readonly onRestored?: (ms: number) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now?: () => number;
}

/**
 * Decides about `/ready`: the engine answers, and every adapter that has to be put back after a start (ours or the engine's) is in or has
 * failed, or has had a minute. In a new pod whose engine has not served yet, so are adapters that are declared before a probe was told that it
 * is ready: in a rolling update the pod that has served them so far goes then. One that is declared later holds nothing back.
 */
export class RestoreGate {
  readonly #isNewEngine: (view: EngineView) => boolean;
  readonly #onFirstReady: () => void;
  readonly #onRestored: (ms: number) => void;
  readonly #now: () => number;
  /** To be put back. */
  #remembered: Set<string>;
  /** Declared since the start of a new pod. */
  readonly #declared = new Set<string>();
  #holdsDeclared: boolean;
  #wasLookedAt = false;
  #readySinceMs: number | undefined;
  #followedSinceMs: number | undefined;
  #bootId: string | undefined;

  constructor(remembered: Iterable<string>, options: RestoreGateOptions = {}) {
    this.#remembered = new Set(remembered);
    this.#holdsDeclared = options.isNewPod ?? false;
    this.#isNewEngine = options.isNewEngine ?? (() => false);
    this.#onFirstReady = options.onFirstReady ?? (() => undefined);
    this.#onRestored = options.onRestored ?? (() => undefined);
    this.#now = options.now ?? (() => performance.now());
  }

  /** An adapter is declared, and not in yet. */
  onDeclared(name: string): void {
    if (this.#holdsDeclared) this.#declared.add(name);
  }

  /** Somebody follows what this runtime shows: a controller, which declares what is missing. */
  onFollowed(): void {
    this.#followedSinceMs ??= this.#now();
  }

  /** @param declared - names that are to be put back if the engine has gone */
  onEngine(view: EngineView, declared: Iterable<string>): void {
    // One that answers at once has served all along, beside a runtime that was restarted.
    if (!this.#wasLookedAt && view.ready && !this.#isNewEngine(view)) this.#holdNoneDeclared();
    this.#wasLookedAt = true;
    if (view.ready) {
      // One that was restarted between two looks was never seen away.
      const isAnother = this.#readySinceMs !== undefined && this.#bootId !== undefined && view.bootId !== this.#bootId;
      if (isAnother) this.#remembered = new Set(declared);
      if (isAnother || this.#readySinceMs === undefined) this.#readySinceMs = this.#now();
      this.#bootId = view.bootId ?? this.#bootId;
      return;
    }
    if (this.#readySinceMs !== undefined) this.#remembered = new Set(declared);
    this.#readySinceMs = undefined;
  }

  /** Something changed: looks which adapters are in or have failed by now. It makes nothing ready. */
  onChange(isSettled: (name: string) => boolean): void {
    if (this.#readySinceMs === undefined) return;
    for (const name of this.#declared) if (isSettled(name)) this.#declared.delete(name);
    if (this.#remembered.size === 0) return;
    for (const name of this.#remembered) if (isSettled(name)) this.#remembered.delete(name);
    if (this.#remembered.size === 0) this.#onRestored(this.#now() - this.#readySinceMs);
  }

  /** Answers a readiness probe: why the pod should get no requests yet, or `undefined`. From then on, nothing that is declared is waited for. */
  probe(view: EngineView): string | undefined {
    if (!view.ready || this.#readySinceMs === undefined) return view.message ?? "the engine has not been reached yet";
    const sinceMs = this.#now() - this.#readySinceMs;
    const waitingFor = [...new Set([...this.#remembered, ...this.#declared])];
    if (waitingFor.length > 0 && sinceMs < RESTORE_HOLD_MS) return `adapters are being put back: ${waitingFor.slice(0, 20).join(", ")}`;
    if (!this.#holdsDeclared) return undefined;
    if (
      sinceMs < CONNECT_HOLD_MS &&
      this.#now() - Math.max(this.#readySinceMs, this.#followedSinceMs ?? Number.POSITIVE_INFINITY) < DECLARE_HOLD_MS
    )
      return "the controller may declare adapters yet";
    this.#holdNoneDeclared();
    this.#onFirstReady();
    return undefined;
  }

  #holdNoneDeclared(): void {
    this.#holdsDeclared = false;
    this.#declared.clear();
  }
}

/**
 * Whether an engine is too young to have served before: a small one may answer before the runtime beside it in a new pod looks. Pure.
 *
 * @param startedAtMs - wall-clock time of its start, in milliseconds; one that is not known was long ago
 */
export function isJustStarted(startedAtMs: number | undefined, wallNowMs: number): boolean {
  return startedAtMs !== undefined && Math.abs(wallNowMs - startedAtMs) < NEW_ENGINE_MS;
}

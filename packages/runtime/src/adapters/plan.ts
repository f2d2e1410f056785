import type { Content } from "../artifact/artifacts.ts";
import type { EngineModel } from "../engine/engine.ts";
import type { EngineView } from "../engine/observer.ts";
import type { Problem } from "./declaration.ts";

/** A try that did not work. */
export interface Failure extends Problem {
  readonly step: "fetch" | "load" | "probe" | "unload";
  readonly retryable: boolean;
  /** Why, in a word that programs can compare, where there is one. */
  readonly cause: string | undefined;
  /** When it is tried again, in milliseconds of the clock that never jumps; `undefined` where only a change from outside helps. */
  readonly retryAtMs: number | undefined;
  /** The engine ends by this content: a new process of it is not given it again. */
  readonly endsEngine?: true;
}

/** Everything about one adapter that decides what happens next. */
export interface Facts {
  readonly name: string;
  /** It should no longer be served. */
  readonly removing: boolean;
  /** Until when requests under its name may go on before it is unloaded; `undefined` where none has to. */
  readonly drainUntilMs: number | undefined;
  readonly hold: Problem | undefined;
  readonly lacksKey: boolean;
  readonly fetching: boolean;
  /** The declared content, once it is here and checked. */
  readonly wanted: Content | undefined;
  /** What served last under this name; it goes on serving until the declared content can. */
  readonly fallback: Content | undefined;
  /** Paths that we loaded under this name. Anything else in the engine is somebody else's and never touched. */
  readonly ownPaths: ReadonlySet<string>;
  /** Of these, those under which the engine has answered nothing yet, and should before they count as serving. */
  readonly unproven: ReadonlySet<string>;
  /** Path of the content that may take the place of what serves: requests of that have ended, or there is room for both. */
  readonly mayReplaceBy: string | undefined;
  readonly failure: Failure | undefined;
  readonly fallbackFailure: Failure | undefined;
}

export type Step =
  | { readonly kind: "fetch" }
  /** `replaces`: the name must be unloaded first; never in place, which gives running streams text of neither version. */
  | { readonly kind: "load"; readonly content: Content; readonly replaces: string | undefined }
  /** Older content serves: its requests have to end first, or there has to be room for both. */
  | { readonly kind: "awaitSwap"; readonly content: Content }
  /** The engine lists it: has it answer a request. */
  | { readonly kind: "probe"; readonly content: Content }
  | { readonly kind: "unload" }
  /** It is gone from the engine: nothing is left to do for it. */
  | { readonly kind: "forget" }
  | { readonly kind: "blocked"; readonly problem: Problem }
  | { readonly kind: "idle" };

const KEY_LOST: Step = blocked(
  "EngineUnauthorized",
  "the engine's API key was lost when the runtime restarted, for keys are not written down: call load again with additional_config.api-key",
);

/** Decides what to do next for one adapter. Pure. */
export function plan(f: Facts, engine: EngineView, nowMs: number): Step {
  const entry = engine.models?.get(f.name);
  if (f.removing) return planRemoval(f, engine, entry, nowMs);
  const target = loadable(f, nowMs);
  const served = target !== undefined && entry?.root === target.path && entry.parent !== undefined;
  if (target !== undefined && !served) {
    const step = planLoad(f, target, engine, entry);
    // Where the fallback cannot be put back, the fetch of the declared content need not wait for that.
    if (step.kind !== "blocked" || f.wanted !== undefined) return step;
  }
  const lacks = f.wanted === undefined && !f.fetching && !isStuck(f.failure, nowMs);
  if (lacks && f.hold === undefined) return { kind: "fetch" };
  if (target !== undefined && served && f.unproven.has(target.path)) {
    if (f.lacksKey) return KEY_LOST;
    const failure = target.path === f.wanted?.path ? f.failure : f.fallbackFailure;
    if (!isStuck(failure, nowMs)) return { kind: "probe", content: target };
  }
  return lacks && f.hold !== undefined ? { kind: "blocked", problem: f.hold } : { kind: "idle" };
}

function planRemoval(f: Facts, engine: EngineView, entry: EngineModel | undefined, nowMs: number): Step {
  if (f.ownPaths.size === 0) return { kind: "forget" };
  if (engine.models === undefined) return { kind: "blocked", problem: engineProblem(engine) };
  if (entry?.root === undefined || !f.ownPaths.has(entry.root)) return { kind: "forget" };
  const drains = f.drainUntilMs !== undefined && nowMs < f.drainUntilMs;
  return drains || isStuck(f.failure, nowMs) ? { kind: "idle" } : { kind: "unload" };
}

/** The content to have in the engine now: the declared one unless it is not here or was refused. */
function loadable(f: Facts, nowMs: number): Content | undefined {
  if (f.wanted !== undefined && !isRefused(f.failure, nowMs)) return f.wanted;
  // What served last may be the very content that is refused now, by an engine that was started otherwise.
  if (f.fallback === undefined || f.fallback.path === f.wanted?.path) return undefined;
  return isRefused(f.fallbackFailure, nowMs) ? undefined : f.fallback;
}

/** What only did not answer stays where it is, and is asked again: an engine that is too busy for one token is not given loads instead. */
function isRefused(failure: Failure | undefined, nowMs: number): boolean {
  return failure?.step !== "probe" && isStuck(failure, nowMs);
}

function planLoad(f: Facts, content: Content, engine: EngineView, entry: EngineModel | undefined): Step {
  if (engine.models === undefined) return { kind: "blocked", problem: engineProblem(engine) };
  if (entry !== undefined && entry.parent === undefined)
    return blocked("NameConflict", `the engine serves a base model as "${f.name}": give the adapter another name`);
  if (entry !== undefined && (entry.root === undefined || !f.ownPaths.has(entry.root)))
    return blocked(
      "NameConflict",
      `the engine has another adapter as "${f.name}" (from ${entry.root}), which somebody else loaded: unload it there, or give this one another name`,
    );
  if (f.lacksKey) return KEY_LOST;
  // What has never answered has no requests that are worth waiting for.
  const serves = entry?.root !== undefined && !f.unproven.has(entry.root);
  if (serves && f.mayReplaceBy !== content.path) return { kind: "awaitSwap", content };
  return { kind: "load", content, replaces: entry?.root };
}

function engineProblem(engine: EngineView): Problem {
  return {
    reason: engine.unauthorized ? "EngineUnauthorized" : "EngineUnavailable",
    message: engine.message ?? "the engine has not listed its models yet",
  };
}

function blocked(reason: Problem["reason"], message: string): Step {
  return { kind: "blocked", problem: { reason, message } };
}

/** Whether a failed try must not be repeated yet. */
export function isStuck(failure: Failure | undefined, nowMs: number): boolean {
  return failure !== undefined && (failure.retryAtMs === undefined || failure.retryAtMs > nowMs);
}

/** The next moment at which {@link plan} may decide otherwise by itself. */
export function nextRetryMs(f: Facts, nowMs: number): number | undefined {
  const times = [f.failure?.retryAtMs, f.fallbackFailure?.retryAtMs, f.drainUntilMs].filter(
    (t): t is number => t !== undefined && t > nowMs,
  );
  return times.length === 0 ? undefined : Math.min(...times);
}

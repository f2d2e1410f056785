import type { AdapterStatus } from "@aibrix/api";
import type { Content } from "../artifact/artifacts.ts";
import type { AdapterFacts } from "../artifact/check/adapter.ts";
import type { Progress } from "../artifact/transfer/meter.ts";
import type { EngineView } from "../engine/observer.ts";
import { NoLongerWanted } from "../errors.ts";
import { type Declaration, sameContent, sameFiles } from "./declaration.ts";
import type { LoadedPath, Probed } from "./memory.ts";
import type { Facts, Failure } from "./plan.ts";
import type { Preparation } from "./preparation.ts";
import { adapterStatus, type Timings } from "./status.ts";

/** One adapter and all that is known of it. Only its `AdapterManager` changes it. */
export class Adapter {
  declaration: Declaration;
  removing = false;
  cleanupFiles = false;
  /** Until when requests under its name may go on before it is unloaded; `undefined` where none is left, or nobody waits for them. */
  drainUntilMs: number | undefined;
  /** What it is to get next. */
  next: Preparation | undefined;
  /** Newer content is to take the place of what serves: which, since when and until when it may wait for requests, in milliseconds of the steady clock. */
  swap: { readonly path: string; readonly sinceMs: number; readonly untilMs: number; open: boolean; waits: boolean } | undefined;
  wanted: Content | undefined;
  fallback: Content | undefined;
  failure: Failure | undefined;
  fallbackFailure: Failure | undefined;
  attempts = 0;
  /** Its files were gone or changed when it was to be loaded, and no load has worked since. */
  lostBefore = false;
  /** Files of what serves were gone, and are not here again yet. */
  refetches = false;
  /** Paths that we loaded under this name, with their digests. */
  own: Map<string, string>;
  /** What is known of an answer under these paths; where nothing is, it took the place of what served, or served before there were probes. */
  probed: Map<string, Probed>;
  /** Ends the running probe; `undefined` while none runs. */
  probe: AbortController | undefined;
  /** Content that has never served here, and how often the engine ended while it was given that. */
  engineEnds: { readonly path: string; readonly times: number } | undefined;
  /** Sidecars of other pods that have the declared content, as the last load call named them: no part of what is declared. */
  peers: readonly string[] = [];
  /** Ends the running fetch; `undefined` while none runs. */
  fetch: AbortController | undefined;
  queuedForDownload = false;
  progressShownMs = Number.NEGATIVE_INFINITY;
  download: Progress | undefined;
  busyWithEngine = false;
  /** The base model that its configuration names, once its files are here. */
  trainedOn: string | undefined;
  /** The highest rank of any of its modules, once its files are here. */
  maxRank: number | undefined;
  /** What was found in its files a moment ago, until it is loaded: of hundreds of adapters it would be much to keep. */
  inspected: { readonly content: Content; readonly facts: AdapterFacts } | undefined;
  /** How long its last download and its last load took, in milliseconds. */
  timings: Timings = {};
  /** Path of what an earlier runtime was giving to the engine in place of what served, as it ended; until it is known whether it serves. */
  inDoubt: string | undefined;
  /** Path of what was last seen serving, kept when the engine loses it: loading it again is a repair. */
  lastServedPath: string | undefined;
  servingSinceMs: number | undefined;
  /** What served was given up for other content, in this process of the engine, and nothing has served since. */
  gaveUp = false;
  timer: NodeJS.Timeout | undefined;

  constructor(declaration: Declaration, loaded: readonly Omit<LoadedPath, "lora_name">[]) {
    this.declaration = declaration;
    this.own = new Map(loaded.map((l) => [l.path, l.content_digest]));
    this.probed = new Map(loaded.flatMap((l) => (l.probed === undefined ? [] : [[l.path, l.probed] as const])));
    // What was loaded before a restart of the runtime is what may go on serving until the declared content can.
    const last = loaded.findLast((l) => l.probed !== "pending" && l.loading !== true) ?? loaded.at(-1);
    this.inDoubt = loaded.find((l) => l.loading === true)?.path;
    if (last !== undefined) {
      this.fallback = { path: last.path, digest: last.content_digest };
      this.lastServedPath = last.path;
    }
  }

  get name(): string {
    return this.declaration.name;
  }

  facts(): Facts {
    return {
      name: this.name,
      removing: this.removing,
      drainUntilMs: this.removing ? this.drainUntilMs : undefined,
      hold: this.declaration.hold,
      lacksKey: this.declaration.lacksKey,
      fetching: this.fetch !== undefined,
      wanted: this.wanted,
      fallback: this.fallback,
      ownPaths: new Set(this.own.keys()),
      unproven: new Set([...this.probed].flatMap(([path, probed]) => (probed === "pending" ? [path] : []))),
      mayReplaceBy: this.swap?.open === true ? this.swap.path : undefined,
      failure: this.failure,
      fallbackFailure: this.fallbackFailure,
    };
  }

  /** Takes a new declaration of the same name. What runs for the same content goes on; what failed is tried again at once. */
  redeclare(next: Declaration): void {
    const before = this.declaration;
    this.declaration = next;
    this.removing = false;
    this.cleanupFiles = false;
    this.drainUntilMs = undefined;
    const prepared = this.next?.contentFor(next);
    // Said more exactly what is here already, it is as it was.
    const isHere = before.url === next.url && next.content !== undefined && next.content.digest === this.wanted?.digest;
    const same = sameFiles(before, next) || isHere;
    if (!same || prepared !== undefined) {
      this.wanted = prepared;
      this.maxRank = this.next?.facts?.maxRank;
      this.refetches = false;
      this.inspected = undefined;
      this.swap = undefined;
      this.trainedOn = this.next?.facts?.config.baseModel;
    }
    // By other credentials the same may come: what has arrived is kept for them.
    if (!same || before.probe !== next.probe) this.probe?.abort();
    if (!same) {
      this.engineEnds = undefined;
      this.attempts = 0;
    }
    if (!same || prepared !== undefined) this.abortFetch();
    else if ((!isHere && !sameContent(before, next)) || next.hold !== undefined)
      this.abortFetch(new Error("other credentials were declared"));
    this.retryNow();
  }

  /** Forgets what went wrong between us and the engine, but not what every process of it would do again. */
  forgetEngineFailures(): void {
    if (this.failure?.step !== "fetch" && this.failure?.endsEngine !== true) this.failure = undefined;
    if (this.fallbackFailure?.endsEngine !== true) this.fallbackFailure = undefined;
  }

  /** Forgets what went wrong. */
  retryNow(): void {
    this.failure = undefined;
    this.fallbackFailure = undefined;
  }

  /** Nothing is known yet of what it needs: any content of its name may be it. */
  get isUndecided(): boolean {
    return !this.removing && (this.wanted === undefined || this.next?.running === true);
  }

  /** Whether content of the store is what this adapter needs, or may turn out to be once its fetch has ended. */
  mayNeed(digest: string): boolean {
    if (this.removing) return [...this.own.values()].includes(digest);
    if (this.next?.content?.digest === digest) return true;
    return this.isUndecided || this.wanted?.digest === digest || this.fallback?.digest === digest;
  }

  /** @param reason - what has arrived is dropped where it is a {@link NoLongerWanted} */
  abortFetch(reason: Error = new NoLongerWanted("the adapter was taken away, or something else was declared")): void {
    this.fetch?.abort(reason);
    this.fetch = undefined;
    this.download = undefined;
    this.queuedForDownload = false;
  }

  /** What the engine's list shows under this name, where it is something that we know. */
  served(engine: EngineView): { readonly path: string; readonly digest: string } | undefined {
    const entry = engine.models?.get(this.name);
    if (entry?.root === undefined || entry.parent === undefined) return undefined;
    if (this.probed.get(entry.root) === "pending") return undefined;
    const digest = this.own.get(entry.root) ?? (this.wanted?.path === entry.root ? this.wanted.digest : undefined);
    return digest === undefined ? undefined : { path: entry.root, digest };
  }

  /** Notes what serves now. */
  observe(engine: EngineView, nowMs: number): void {
    const path = this.served(engine)?.path;
    if (path === undefined || path !== this.lastServedPath) this.servingSinceMs = undefined;
    if (path === undefined) return;
    this.lastServedPath = path;
    this.gaveUp = false;
    this.servingSinceMs ??= nowMs;
  }

  status(engine: EngineView, nowMs: number, timeOf: (ms: number) => number): AdapterStatus {
    const served = this.served(engine);
    return adapterStatus(
      {
        declaration: this.declaration,
        facts: this.facts(),
        busyWithEngine: this.busyWithEngine,
        queuedForDownload: this.queuedForDownload,
        download: this.download,
        attempts: this.attempts,
        trainedOn: this.trainedOn,
        refetches: this.refetches,
        maxRank: this.maxRank,
        timings: this.timings,
        prepared: this.next?.shown(timeOf),
        waitsSinceMs: this.swap?.open === false && this.swap.waits ? this.swap.sinceMs : undefined,
        probed: this.probed.get(served?.path ?? ""),
        gaveUp: this.gaveUp,
        serving: served === undefined ? undefined : { ...served, sinceMs: this.servingSinceMs ?? nowMs },
      },
      engine,
      nowMs,
      timeOf,
    );
  }
}

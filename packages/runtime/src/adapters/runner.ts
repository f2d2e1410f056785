import type { Logger } from "@aibrix/service";
import pLimit from "p-limit";
import type { Artifacts, Content } from "../artifact/artifacts.ts";
import type { AdapterFacts } from "../artifact/check/adapter.ts";
import { readBaseModel } from "../artifact/check/base-model.ts";
import { checkFit } from "../artifact/check/fit.ts";
import type { Progress } from "../artifact/transfer/meter.ts";
import type { Engine } from "../engine/engine.ts";
import type { KeyRing } from "../engine/key-ring.ts";
import type { EngineObserver } from "../engine/observer.ts";
import { AdapterError, causeOf, messageOf, stackOf } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { EngineEnded, Smoke } from "../smoke/smoke.ts";
import { Adapter } from "./adapter.ts";
import { backoffMs } from "./backoff.ts";
import type { Declaration } from "./declaration.ts";
import { ENGINE_ENDS, EndsEngine, endedDuring, hasServed, noteEnd, Suspects, WhileGiven } from "./engine-ends.ts";
import type { Memory } from "./memory.ts";
import { DRIP_MS, DRIP_PERIOD_MS, drips, Places } from "./places.ts";
import type { Failure, Step } from "./plan.ts";
import type { Preparation } from "./preparation.ts";

/** Adapters that are fetched at once. */
const PARALLEL_FETCHES = 4;
/** And beside them, of sources that only drip. Each that wakes up takes memory as one of the others does. */
const DRIPPING_FETCHES = 12;

const PARALLEL_PROBES = 8;

export interface RunnerDeps {
  readonly engine: Engine;
  readonly observer: EngineObserver;
  readonly artifacts: Artifacts;
  readonly memory: Memory;
  readonly keys: KeyRing;
  readonly metrics: Metrics;
  /** Whether first loads are probed where a declaration does not say it. */
  readonly probe: "auto" | "off";
  /** `--max-lora-rank` of the engine, where the runtime was told and a declaration does not say it. */
  readonly maxLoraRank: number | undefined;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds: that of the wall may be set while an adapter waits. */
  readonly now: () => number;
  /** A time of it in milliseconds since the epoch, for people. */
  readonly timeOf: (ms: number) => number;
  readonly random: () => number;
}

type LoadStep = Extract<Step, { kind: "load" }>;

/** Carries out steps. Records what came of them on the adapter; never throws. */
export class Runner {
  readonly #deps: RunnerDeps;
  readonly #fetches = new Places(PARALLEL_FETCHES, DRIPPING_FETCHES);
  /** An engine takes one load or unload at a time; more at once only make each of them slower. */
  readonly #engineCalls = pLimit(1);
  /** Requests like any other: an engine that is slow to answer one holds up no load. */
  readonly #probes = pLimit(PARALLEL_PROBES);

  readonly #suspects = new Suspects();
  readonly #smoke: Smoke;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
    this.#smoke = new Smoke(deps, this.#engineCalls);
  }

  /** Brings the declared content here. Returns when that is done, failed or no longer wanted. */
  async fetch(a: Adapter, onProgress: () => void, signal: AbortSignal): Promise<void> {
    const { artifacts, observer, metrics, log, now } = this.#deps;
    const { url } = a.declaration;
    const mine = new AbortController();
    a.fetch = mine;
    a.queuedForDownload = true;
    const both = AbortSignal.any([signal, mine.signal]);
    let startedMs = now();
    const onStart = () => {
      a.queuedForDownload = false;
      startedMs = now();
      onProgress();
    };
    const onRate = (progress: Progress) => {
      if (a.fetch !== mine) return;
      a.download = progress;
      onProgress();
    };
    try {
      const content = await this.#obtain(a, a.declaration.restored ? "local" : "new", onStart, onRate, both);
      const facts = await artifacts.inspect(content, both);
      if (a.fetch !== mine || both.aborted) return;
      a.wanted = content;
      a.refetches = false;
      // It was lost as what to fall back to, too.
      if (a.lastServedPath === content.path) a.fallback ??= content;
      a.trainedOn = facts?.config.baseModel;
      a.maxRank = facts?.maxRank;
      // Where the load has to wait, for an engine that starts for example, they are read again.
      a.inspected = facts === undefined || !observer.view.ready ? undefined : { content, facts };
      a.timings = { ...a.timings, downloadMs: now() - startedMs };
      metrics.downloads.inc({ result: "success" });
      log.info({ adapter: a.name, url, digest: content.digest, revision: content.revision, path: content.path }, "the artifact is here");
    } catch (error) {
      if (both.aborted || a.fetch !== mine) return;
      metrics.downloads.inc({ result: "failure" });
      a.failure = this.#failure(a, "fetch", error);
    } finally {
      if (a.fetch === mine) a.abortFetch();
    }
  }

  /** Takes content out of the engine that was loaded only to be checked, and that nobody checks any more. */
  async sweepChecked(models: Iterable<string>, signal: AbortSignal): Promise<void> {
    await this.#smoke.sweep(models, signal);
  }

  /** Brings the content here that an adapter is to get next, checks it against what the engine takes, and has it answer what it has to. */
  async prepare(a: Adapter, next: Preparation, onChange: () => void, signal: AbortSignal): Promise<void> {
    const { artifacts, engine, keys, metrics, log } = this.#deps;
    const both = AbortSignal.any([signal, next.abort.signal]);
    const { declaration } = next;
    next.running = true;
    next.failure = undefined;
    try {
      if (next.proves) await engine.listModels(declaration.apiKey ?? keys.mounted, both);
      const content = await this.#obtain(
        next,
        next.proves ? "proof" : "new",
        () => undefined,
        () => undefined,
        both,
      );
      const facts = await artifacts.inspect(content, both);
      if (facts !== undefined) await this.#checkFit(declaration, facts);
      if (both.aborted) return;
      metrics.downloads.inc({ result: "success" });
      if (!(await this.#passes(a, next, content, onChange, both, signal))) return;
      next.content = content;
      next.facts = facts;
      const { digest, revision, path } = content;
      log.info({ adapter: a.name, url: declaration.url, digest, revision, path }, "the content that it is to get next is here");
    } catch (error) {
      if (both.aborted) return;
      metrics.downloads.inc({ result: "failure" });
      next.failure = this.#failure(next, "fetch", error, a.name);
    } finally {
      next.running = false;
    }
  }

  /** Has content answer what it has to; tells what was wrong. `false` also where nobody wants it any more. */
  async #passes(
    a: Adapter,
    next: Preparation,
    content: Content,
    onChange: () => void,
    wanted: AbortSignal,
    closed: AbortSignal,
  ): Promise<boolean> {
    const { observer } = this.#deps;
    // A reference that leads to what serves already: users have its answers.
    const serves = content.digest !== "" && a.served(observer.view)?.digest === content.digest;
    if (next.checks.length === 0 || serves) return true;
    next.checking = true;
    onChange();
    try {
      await this.#suspects.watch(() => this.#smoke.run(next.declaration, content, next.checks, wanted, closed));
      return !wanted.aborted;
    } catch (error) {
      if (wanted.aborted) return false;
      if (error instanceof EngineEnded) next.engineEnds += 1;
      const often = `${messageOf(error)}, ${next.engineEnds} times: look into its log before this content is tried again`;
      const isItself = error instanceof EngineEnded && next.engineEnds >= ENGINE_ENDS;
      next.failure = this.#failure(next, "load", isItself ? new AdapterError("CheckFailed", often) : error, a.name);
      return false;
    } finally {
      next.checking = false;
    }
  }

  /** Waits for one of the few places for downloads, and brings a content here. */
  async #obtain(
    of: Pick<Adapter, "declaration" | "peers">,
    ask: "local" | "new" | "proof",
    onStart: () => void,
    onRate: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<Content> {
    const { artifacts, now } = this.#deps;
    const { name, url, credentials, credentialsHosts, delivery, content } = of.declaration;
    return await this.#fetches.run(async (leave) => {
      signal.throwIfAborted();
      onStart();
      const startedMs = now();
      let last: Progress | undefined;
      let lastMs = startedMs;
      const onProgress = (progress: Progress) => {
        last = progress;
        onRate(progress);
      };
      // By a clock of its own: a source that falls silent makes no progress that would tell, and the rate that was told last grows old.
      const timer = setInterval(() => {
        if (last !== undefined && last.bytesPerSecond > 0 && now() - lastMs >= DRIP_MS) onProgress({ ...last, bytesPerSecond: 0 });
        if (drips(last, now() - startedMs)) leave();
      }, DRIP_PERIOD_MS);
      const obtained = artifacts.obtain(
        {
          name,
          url,
          credentials,
          credentialsHosts,
          preferLocal: ask === "local",
          prove: ask === "proof",
          delivery,
          ...(content === undefined ? {} : { content, peers: () => of.peers }),
        },
        (progress) => {
          lastMs = now();
          onProgress(progress);
        },
        signal,
      );
      return await obtained.finally(() => clearInterval(timer));
    });
  }

  /** Loads a content, in place of what is there under the name. `isCurrent` is asked once its turn has come. */
  async load(a: Adapter, step: LoadStep, isCurrent: () => boolean, signal: AbortSignal): Promise<void> {
    await this.#engineCalls(async () => {
      if (signal.aborted || !isCurrent()) return;
      if (!(await this.#deps.artifacts.isComplete(a.name, step.content))) return this.lost(a, step.content);
      const { metrics, log, now } = this.#deps;
      const before = a.fallback;
      const isRepair = a.lastServedPath === step.content.path && step.replaces === undefined;
      const startedMs = now();
      try {
        await this.#checkBeforeLoad(a, step.content, signal);
        await this.#replace(a, step, signal);
      } catch (error) {
        if (signal.aborted) return;
        metrics.loadSeconds.observe({ result: "failure" }, (now() - startedMs) / 1000);
        // What was unloaded for it is put back at once, which only a new look at the engine shows to be needed.
        await this.#notTaken(a, "load", step.content, error, signal);
        return;
      }
      metrics.loadSeconds.observe({ result: "success" }, (now() - startedMs) / 1000);
      if (isRepair) metrics.repairs.inc();
      if (before !== undefined && step.replaces === before.path) await this.#used(a, before);
      await this.#used(a, step.content);
      const { path, digest } = step.content;
      log.info(
        { adapter: a.name, path, digest, ms: Math.round(now() - startedMs) },
        isRepair ? "repaired: the engine had lost the adapter" : "loaded",
      );
    });
  }

  /** Has the engine answer a request under a name that it lists, before it counts as serving. `isCurrent` is asked once its turn has come. */
  async probe(a: Adapter, content: Content, isCurrent: () => boolean, signal: AbortSignal): Promise<void> {
    const { engine, log, now } = this.#deps;
    const mine = new AbortController();
    a.probe = mine;
    const both = AbortSignal.any([signal, mine.signal]);
    await this.#probes(async () => {
      if (both.aborted || !isCurrent()) return;
      const startedMs = now();
      try {
        const ask = () => engine.probe({ name: a.name, apiKey: this.#keyFor(a, content) }, both);
        const probed = this.#isProbed(a) ? await this.#given(a, content, "it answered the first request of", ask) : "off";
        if (both.aborted || a.probed.get(content.path) !== "pending") return;
        a.probed.set(content.path, probed);
        await this.#settled(a, content);
        log.info({ adapter: a.name, probed, ms: Math.round(now() - startedMs) }, "it answers");
      } catch (error) {
        if (!both.aborted) await this.#notTaken(a, "probe", content, error, both);
      }
    });
    if (a.probe === mine) a.probe = undefined;
  }

  /** Takes an adapter out of the engine, and sees that it is gone. */
  async unload(a: Adapter, signal: AbortSignal): Promise<void> {
    const { engine, observer, log } = this.#deps;
    await this.#engineCalls(async () => {
      try {
        await engine.unload({ name: a.name, apiKey: this.#keyToUnload(a) }, signal);
        const view = await observer.refresh(signal, { answered: true });
        if (a.own.has(view.models?.get(a.name)?.root ?? ""))
          throw new AdapterError("EngineRefused", `the engine still lists "${a.name}" after it was unloaded`, { retryable: true });
        a.failure = undefined;
        log.info({ adapter: a.name }, "unloaded");
        if (a.fallback !== undefined) await this.#used(a, a.fallback);
      } catch (error) {
        if (!signal.aborted) a.failure = { ...this.#failure(a, "unload", error), retryAtMs: this.#retryAtMs(a) };
      }
    });
  }

  /** Asks whether this engine can take the content, which was just seen to be complete, before anything of it changes. */
  async #checkBeforeLoad(a: Adapter, content: Content, signal: AbortSignal): Promise<void> {
    const facts = a.inspected?.content === content ? a.inspected.facts : await this.#deps.artifacts.inspect(content, signal);
    a.inspected = undefined;
    if (facts !== undefined) await this.#checkFit(a.declaration, facts);
  }

  async #checkFit({ limits }: Declaration, facts: AdapterFacts): Promise<void> {
    const { observer, maxLoraRank } = this.#deps;
    const base = await readBaseModel(observer.view.models?.values() ?? []);
    checkFit(facts, { maxLoraRank: limits?.maxLoraRank ?? maxLoraRank, base });
  }

  async #replace(a: Adapter, { content, replaces }: LoadStep, signal: AbortSignal): Promise<void> {
    const { engine, observer, memory, now } = this.#deps;
    a.own.delete(content.path);
    a.own.set(content.path, content.digest);
    this.#toProve(a, content.path, replaces);
    // Were the runtime to end now, what served is what to go on with, not this.
    const loading = a.fallback !== undefined && a.fallback.path !== content.path ? content.path : undefined;
    await memory.setLoaded(a.name, a.own, observer.bootId, a.probed, a.declaration, loading);
    if (replaces !== undefined) {
      await engine.unload({ name: a.name, apiKey: this.#keyToUnload(a) }, signal);
      a.lastServedPath = undefined;
      a.gaveUp = true;
    }
    const startedMs = now();
    const view = await this.#given(a, content, "it loaded", async () => {
      await engine.load({ name: a.name, path: content.path, apiKey: this.#keyFor(a, content) }, signal);
      a.timings = { ...a.timings, loadMs: now() - startedMs };
      const listed = await observer.refresh(signal, { answered: true });
      if (listed.models === undefined) throw new AdapterError("EngineUnavailable", listed.message ?? "the engine does not list its models");
      return { ...listed, models: listed.models };
    });
    const root = view.models.get(a.name)?.root;
    if (root !== content.path)
      throw new AdapterError(
        "EngineRefused",
        `the engine said that it loaded "${a.name}", but lists ${root ?? "nothing"} under this name`,
        { retryable: true },
      );
    // What served before stays at hand until this is known to answer.
    if (a.probed.get(content.path) !== "pending") await this.#settled(a, content);
    else a.fallback ??= content;
  }

  /**
   * Gives content to the engine by `work`.
   *
   * @param doing - what the engine does meanwhile, for people
   * @throws what `work` throws; as {@link WhileGiven} where the content may have ended the engine
   */
  async #given<T>(a: Adapter, { path }: Content, doing: string, work: () => Promise<T>): Promise<T> {
    // What has served here is above suspicion, and leaves others under it.
    if (hasServed(a, path)) return await work();
    const { view: before } = this.#deps.observer;
    return await this.#suspects.watch(async (isAlone) => {
      try {
        return await work();
      } catch (error) {
        throw isAlone() ? new WhileGiven(error, doing, before) : error;
      }
    });
  }

  /**
   * Records that content was not taken, and looks whether it ended the engine. In this order: another process that the look shows may take what
   * the last one refused.
   */
  async #notTaken(a: Adapter, step: "load" | "probe", content: Content, thrown: unknown, signal: AbortSignal): Promise<void> {
    const given = thrown instanceof WhileGiven ? thrown : undefined;
    this.#failed(a, step, content, given?.cause ?? thrown);
    const after = await this.#deps.observer.refresh(signal);
    if (signal.aborted || given === undefined || !endedDuring(given.cause, given.before, after)) return;
    // The same try, told of more exactly.
    a.attempts -= 1;
    const why = noteEnd(a, content.path, given);
    // What only does not answer stays where it is; not so what ends the engine.
    this.#failed(a, why instanceof EndsEngine ? "load" : step, content, why);
  }

  /**
   * Notes whether content that is going to be loaded has to answer a request before it counts as serving: not again after a restart of the
   * engine, and not in place of what serves, where every pod would be without it until then.
   */
  #toProve(a: Adapter, path: string, replaces: string | undefined): void {
    const before = a.probed.get(path);
    if (before === "served" || before === "notNeeded") return;
    // What the runtime loaded before there were probes has served.
    if (before === undefined && a.lastServedPath === path) return;
    if (!this.#isProbed(a)) a.probed.set(path, "off");
    // Nobody is sent here until it answers.
    else if (replaces === undefined || a.probed.get(replaces) === "pending" || a.declaration.drainMs !== undefined)
      a.probed.set(path, "pending");
    else a.probed.delete(path);
  }

  #isProbed({ declaration }: Adapter): boolean {
    return (declaration.probe ?? this.#deps.probe) !== "off";
  }

  /** Notes that content serves which an earlier runtime was giving to the engine as it ended. */
  async foundServing(a: Adapter, content: Content): Promise<void> {
    a.fallback = content;
    await this.#settled(a, content);
  }

  /** It serves. */
  async #settled(a: Adapter, content: Content): Promise<void> {
    const { memory, observer } = this.#deps;
    a.inDoubt = undefined;
    a.own = new Map([[content.path, content.digest]]);
    const probed = a.probed.get(content.path);
    a.probed = new Map(probed === undefined ? [] : [[content.path, probed]]);
    await memory.setLoaded(a.name, a.own, observer.bootId, a.probed, a.declaration);
    a.fallbackFailure = undefined;
    a.fallback = content;
    if (a.wanted?.path !== content.path) return;
    a.failure = undefined;
    a.engineEnds = undefined;
    a.lostBefore = false;
    a.attempts = 0;
  }

  /** The cache keeps what was used last. Not worth a failure. */
  async #used(a: Adapter, content: Content): Promise<void> {
    const { artifacts, log } = this.#deps;
    await artifacts
      .used(a.name, content)
      .catch((error: unknown) => log.debug({ adapter: a.name, error: messageOf(error) }, "the use of its files cannot be noted"));
  }

  #failed(a: Adapter, step: "load" | "probe", content: Content, error: unknown): void {
    if (a.wanted?.path === content.path) a.failure = this.#failure(a, step, error);
    // Neither is what was declared away meanwhile: its failure is nobody's.
    else if (a.fallback?.path === content.path) a.fallbackFailure = this.#failure(a, step, error);
  }

  /** Somebody removed or changed the files: they are fetched and checked again; with a pause where that happens again and again. */
  lost(a: Adapter, content: Content): void {
    const { log } = this.#deps;
    log.warn(
      { adapter: a.name, path: content.path },
      "files of the adapter are missing, or not known to be those that were checked: they are fetched and checked again",
    );
    if (a.fallback?.path === content.path) a.fallback = undefined;
    if (a.wanted?.path !== content.path) return;
    a.wanted = undefined;
    if (a.lostBefore)
      a.failure = this.#failure(
        a,
        "fetch",
        new AdapterError("ArtifactUnavailable", `files in ${content.path} change while they are read: they are read again`),
      );
    a.lostBefore = true;
  }

  #failure(a: { attempts: number }, step: Failure["step"], error: unknown, name = a instanceof Adapter ? a.name : undefined): Failure {
    const known =
      error instanceof AdapterError
        ? error
        : new AdapterError(step === "fetch" ? "ArtifactUnavailable" : "EngineUnavailable", `unexpected: ${messageOf(error)}`);
    a.attempts += 1;
    const retryAtMs = known.retryable ? this.#retryAtMs(a) : undefined;
    const { reason, message, retryable } = known;
    this.#deps.log.warn(
      {
        adapter: name,
        step,
        reason,
        attempts: a.attempts,
        retryAt: retryAtMs === undefined ? undefined : new Date(this.#deps.timeOf(retryAtMs)).toISOString(),
      },
      message,
    );
    if (known !== error) this.#deps.log.error({ stack: stackOf(error), adapter: name }, "an error that nobody expected");
    const ends = known instanceof EndsEngine ? { endsEngine: true as const } : {};
    return { step, reason, message, retryable, cause: causeOf(known.cause), retryAtMs, ...ends };
  }

  #retryAtMs(a: { readonly attempts: number }): number {
    return this.#deps.now() + backoffMs(a.attempts, this.#deps.random());
  }

  /** What served last needs no key that newer content came with: that may be wrong, or have changed in the middle of a swap. */
  #keyFor(a: Adapter, { path }: Content): string | undefined {
    const { keys } = this.#deps;
    const declared = a.declaration.apiKey ?? keys.mounted;
    return a.fallback?.path === path ? (keys.good ?? declared) : declared;
  }

  /** An adapter that is taken away may be all that is left of its declaration: any key that works will do. */
  #keyToUnload(a: Adapter): string | undefined {
    return this.#deps.keys.good ?? a.declaration.apiKey;
  }
}

import { type AdapterStatus, CONFIG_API_KEY, DRAIN, type LoadRequest, type PrepareRequest, type UnloadRequest } from "@aibrix/api";
import type { Artifacts, Content, Delivery } from "../artifact/artifacts.ts";
import { readDelivery } from "../artifact/delivery.ts";
import type { ArtifactStore } from "../artifact/store/store.ts";
import { differsBeyondAdapters, ENGINE_UNSEEN, type EngineView, sameModel } from "../engine/observer.ts";
import { AdapterError, messageOf, NoLongerWanted, RequestError, stackOf } from "../errors.ts";
import type { Feed } from "../feed.ts";
import { badPattern } from "../smoke/judge.ts";
import { Adapter } from "./adapter.ts";
import type { Declaration, Limits } from "./declaration.ts";
import { Drains } from "./drains.ts";
import type { LoadedPath } from "./memory.ts";
import { mayReplace, mayUnload, notOurs } from "./owner.ts";
import { nextRetryMs, plan, type Step } from "./plan.ts";
import { Preparation } from "./preparation.ts";
import { Runner, type RunnerDeps } from "./runner.ts";
import { Superseded } from "./superseded.ts";

export interface ManagerDeps extends RunnerDeps {
  readonly artifacts: Artifacts;
  /** Drops files. */
  readonly store: Pick<ArtifactStore, "drop" | "sweep">;
  readonly feed: Feed;
}

const PROGRESS_PERIOD_MS = 500;
/** How long requests may go on of an adapter whose manifest is gone; a call says it itself. */
const MANIFEST_GRACE_MS = 30_000;
/** How long content that cannot be prepared is tried again though nobody asks for it any more, in milliseconds. */
const PREPARE_UNASKED_MS = 600_000;
/** How long a load call waits for a look at an engine that is slow, in milliseconds. */
const LOOK_WITHIN_MS = 1_000;

/** Keeps every declared adapter where it should be: takes declarations, plans, runs, and shows what came of it. */
export class AdapterManager {
  readonly #deps: ManagerDeps;
  readonly #runner: Runner;
  readonly #drains: Drains;
  readonly #superseded = new Superseded();
  readonly #adapters = new Map<string, Adapter>();
  readonly #running = new Set<Promise<void>>();
  /** Names whose files a sweep left alone because their adapters were not decided yet. */
  readonly #sweepLater = new Set<string>();
  readonly #closed = new AbortController();
  #bootId: string | undefined;
  #lastView = ENGINE_UNSEEN;

  constructor(deps: ManagerDeps) {
    this.#deps = deps;
    this.#runner = new Runner(deps);
    this.#drains = new Drains({ ...deps, onPage: (page, askedMs) => this.lookedAt(page, askedMs) });
    deps.observer.onChange((view) => this.#onEngine(view));
  }

  /** What is declared under a name now, and whether it serves. */
  get(name: string): { readonly declaration: Declaration; readonly serving: boolean } | undefined {
    const a = this.#adapters.get(name);
    return a === undefined || a.removing
      ? undefined
      : { declaration: a.declaration, serving: a.served(this.#deps.observer.view) !== undefined };
  }

  /** Whether a name is being taken out of the engine. */
  isRemoving(name: string): boolean {
    return this.#adapters.get(name)?.removing === true;
  }

  /** Names that are declared now. */
  names(): readonly string[] {
    return [...this.#adapters.values()].filter((a) => !a.removing).map((a) => a.name);
  }

  /** Puts back what the API had declared before the runtime ended, the most recently used first. What came with a key waits for it, unless one is mounted. */
  restore(): void {
    const { memory } = this.#deps;
    const declared = mostRecentFirst(memory.declared, (d) => d.lora_name, memory.byLastUse());
    for (const { lora_name: name, artifact_url: url, needs_api_key: needsKey, delivery, limits, owner, probe, content } of declared) {
      this.#declare({
        name,
        url,
        credentials: {},
        apiKey: undefined,
        origin: "api",
        lacksKey: needsKey && this.#deps.keys.mounted === undefined,
        restored: true,
        revision: "",
        hold: undefined,
        baseModel: undefined,
        delivery,
        limits,
        owner,
        probe,
        content,
      });
    }
  }

  /**
   * Takes away what an earlier runtime loaded and nobody declares now. To be called once all that is declared at the start is known. It is told
   * as whose it was: whoever had it unloaded before the restart waits until it is gone.
   */
  sweepOrphans(): void {
    for (const { lora_name: name, path, origin = "manifest", owner } of this.#deps.memory.loaded) {
      if (this.#adapters.has(name)) continue;
      this.#deps.log.info({ adapter: name, path }, "loaded before the restart and no longer declared: it is unloaded");
      const declaration = { name, url: path, credentials: {}, apiKey: undefined, lacksKey: false, restored: true, revision: "" } as const;
      const orphan = new Adapter({ ...declaration, origin, owner, hold: undefined, baseModel: undefined }, this.#loadedAs(name));
      orphan.removing = true;
      this.#adapters.set(name, orphan);
      this.#kick(orphan);
    }
  }

  /**
   * `POST /v1/lora_adapter/load`.
   *
   * @throws RequestError 409 where a manifest or somebody else owns the name, 503 where the declaration cannot be written down: it holds, but not over a restart
   */
  async load(request: LoadRequest): Promise<{ readonly status: number; readonly body: AdapterStatus }> {
    const {
      lora_name: name,
      artifact_url: url,
      credentials = {},
      credentials_hosts: credentialsHosts,
      additional_config = {},
      owner,
      probe,
      content,
      peers,
      drain_seconds: drainSeconds,
    } = request;
    await this.#lookAgainAt(name);
    this.#refuseManifests(name, "change the manifest instead, or use another name");
    const before = this.get(name)?.declaration;
    if (before !== undefined && !mayReplace(before, request)) throw notOurs(before);
    const apiKey = additional_config[CONFIG_API_KEY];
    const delivery = deliveryOf(request);
    const limits = limitsOf(request);
    const drainMs = drainSeconds === undefined ? undefined : drainSeconds * 1_000;
    this.#declare(
      {
        name,
        url,
        credentials,
        credentialsHosts,
        apiKey,
        origin: "api",
        lacksKey: false,
        restored: false,
        revision: "",
        hold: undefined,
        baseModel: undefined,
        delivery,
        limits,
        owner,
        probe,
        content,
        drainMs,
      },
      peers,
    );
    // The answer says "remembered": it waits for the file.
    const declared = { lora_name: name, artifact_url: url, needs_api_key: apiKey !== undefined, delivery, limits, owner, probe, content };
    const unsaved = await this.#deps.memory.declare(declared);
    await this.#deps.memory.cancelCleanup(name);
    this.#deps.memory.used(new Set([name]));
    const body = this.#deps.feed.adapter(name);
    if (body === undefined) throw new RequestError(409, "Conflict", `"${name}" was unloaded by another call meanwhile`);
    if (unsaved !== undefined) throw notRemembered(name, unsaved);
    return { status: body.state === "Serving" ? 200 : 202, body };
  }

  /**
   * `POST /v1/lora_adapter/prepare`. Where it is exactly what serves already, nothing is to come next: what was being prepared is given up.
   *
   * @throws RequestError 404 for a name that is not declared, 409 where a manifest or somebody else owns it, 422 for checks that cannot be read
   */
  prepare(request: PrepareRequest): { readonly status: number; readonly body: AdapterStatus } {
    const {
      lora_name: name,
      artifact_url: url,
      credentials = {},
      credentials_hosts: credentialsHosts,
      content,
      peers = [],
      refresh,
      checks,
      prove,
    } = request;
    const bad = badPattern(checks ?? []);
    if (bad !== undefined) throw new RequestError(422, "InvalidManifest", bad);
    const a = this.#adapters.get(name);
    if (a === undefined || a.removing)
      throw new RequestError(404, "NotFound", `no adapter "${name}" is declared, so that nothing can come next: call load instead`);
    this.#refuseManifests(name, "change the manifest instead");
    if (!mayReplace(a.declaration, request)) throw notOurs(a.declaration);
    const limits = limitsOf(request);
    const delivery = deliveryOf(request);
    // The engine goes on wanting one where the call names none; what is to be proven is the lack of one, too.
    const apiKey = request.additional_config?.[CONFIG_API_KEY] ?? (prove === true ? undefined : a.declaration.apiKey);
    const wanted = { ...a.declaration, url, credentials, credentialsHosts, apiKey, limits, delivery, content, restored: false };
    if (refresh === undefined && this.#serves(a, wanted)) {
      this.#giveUpNext(a);
      this.#publish(a);
      return { status: 200, body: a.status(this.#deps.observer.view, this.#deps.now(), this.#deps.timeOf) };
    }
    if (a.next?.isFor(wanted, refresh, checks) !== true) {
      a.next?.end(new NoLongerWanted("something else is to come next"));
      a.next = new Preparation(wanted, refresh, checks, prove);
    }
    a.next.peers = peers;
    a.next.askedMs = this.#deps.now();
    if (a.next.content === undefined && !a.next.running) this.#prepare(a, a.next);
    this.#publish(a);
    return { status: a.next.running ? 202 : 200, body: a.status(this.#deps.observer.view, this.#deps.now(), this.#deps.timeOf) };
  }

  #prepare(a: Adapter, next: Preparation): void {
    clearTimeout(next.timer);
    const { now } = this.#deps;
    const onChange = () => this.#publish(a);
    const work = this.#runner.prepare(a, next, onChange, this.#closed.signal).then(() => {
      if (a.next !== next || this.#closed.signal.aborted) return;
      const retryAtMs = next.failure?.retryAtMs;
      // Whoever wants it still asks again, for it is no longer shown then.
      if (retryAtMs !== undefined && retryAtMs - next.askedMs > PREPARE_UNASKED_MS) this.#giveUpNext(a);
      else if (retryAtMs !== undefined) next.timer = setTimeout(() => this.#prepare(a, next), Math.max(0, retryAtMs - now()) + 1);
      this.#kick(a);
    });
    this.#publish(a);
    this.#track(work);
  }

  /**
   * `POST /v1/lora_adapter/unload`.
   *
   * @throws RequestError 404 for a name that is not declared, 409 where a manifest or somebody else owns it, 503 where it cannot be written down that the
   *   declaration is gone: the adapter is unloaded all the same, and a restart would load it again. Another call writes it down, also then.
   */
  async unload(request: UnloadRequest): Promise<{ readonly status: number; readonly body: AdapterStatus }> {
    const { lora_name: name, cleanup_local, grace_seconds: graceSeconds = 0 } = request;
    const a = this.#adapters.get(name);
    if (a === undefined) {
      await this.#forgetOnDisk(name);
      throw new RequestError(404, "NotFound", `no adapter "${name}" is declared: GET /v1/lora_adapters lists those that are`);
    }
    this.#refuseManifests(name, "delete the manifest instead");
    if (a.declaration.origin === "api" && !mayUnload(a.declaration, request)) throw notOurs(a.declaration);
    a.cleanupFiles = cleanup_local === true;
    // Both change at once, so that a load call which comes during the write is the later one in every respect.
    const saved = this.#deps.memory.forgetDeclaration(name);
    this.#drain(a, graceSeconds * 1_000);
    this.#remove(a);
    const unsaved = await saved;
    if (unsaved !== undefined) throw notForgotten(name, unsaved);
    const body = this.#deps.feed.adapter(name);
    if (body !== undefined) return { status: 202, body };
    const last = a.status(this.#deps.observer.view, this.#deps.now(), this.#deps.timeOf);
    return { status: 200, body: { ...last, serving: null, message: "it is unloaded: nothing is declared under this name any more" } };
  }

  /** Takes the declarations that the adapters folder makes now, all of them. Names that the API owns must not be among them. */
  setManifests(declarations: ReadonlyMap<string, Declaration>): void {
    for (const a of this.#adapters.values())
      if (a.declaration.origin === "manifest" && !a.removing && !declarations.has(a.name)) {
        this.#deps.log.info({ adapter: a.name }, "its manifest is gone: it is unloaded once its requests have ended");
        this.#drain(a, MANIFEST_GRACE_MS);
        this.#remove(a);
      }
    for (const next of declarations.values()) {
      const now = this.#adapters.get(next.name);
      if (now === undefined || now.removing || !sameDeclaration(now.declaration, next)) this.#declare(next);
    }
  }

  /**
   * Looks whether the files of an adapter that serves are still there, and has them fetched again where they are not. Files that are read in
   * place are somebody else's: they are checked before each load.
   */
  async checkFiles(name: string): Promise<void> {
    const { artifacts, observer } = this.#deps;
    const a = this.#adapters.get(name);
    const content = a?.wanted;
    if (a === undefined || content === undefined || content.digest === "" || content.stamp !== undefined) return;
    if (a.served(observer.view)?.path !== content.path) return;
    const isThere = await artifacts.isComplete(name, content);
    if (this.#closed.signal.aborted || a.removing || a.busyWithEngine || a.wanted !== content) return;
    if (isThere) {
      a.lostBefore = false;
      return;
    }
    this.#runner.lost(a, content);
    a.refetches = true;
    this.#kick(a);
  }

  /**
   * Drops files that the engine can read no more: of contents that were replaced a while ago, under names that have no request. Takes away what
   * was checked and could not be taken away before: no change of the engine's list would ask for that.
   *
   * @param page - of the engine's metrics, asked for at `askedMs` of the steady clock
   */
  lookedAt(page: string, askedMs: number): void {
    const { memory, observer } = this.#deps;
    this.#track(this.#runner.sweepChecked(observer.view.models?.keys() ?? [], this.#closed.signal));
    for (const [name, digests] of this.#superseded.take(page, askedMs))
      this.#track(memory.release(name, digests).then(() => this.#sweep(name)));
  }

  /** Stops what runs. What is in the engine stays there. */
  async close(): Promise<void> {
    this.#closed.abort();
    for (const a of this.#adapters.values()) {
      clearTimeout(a.timer);
      clearTimeout(a.next?.timer);
    }
    await Promise.allSettled([...this.#running, this.#drains.close()]);
  }

  /**
   * The engine's list is up to half a second old and may still have what another loader has just taken away. Before a name that is new here
   * counts as served already, the engine is asked.
   */
  async #lookAgainAt(name: string): Promise<void> {
    const { observer } = this.#deps;
    if (this.#adapters.has(name) || observer.view.models?.has(name) !== true) return;
    await observer.refresh(AbortSignal.any([this.#closed.signal, AbortSignal.timeout(LOOK_WITHIN_MS)]));
  }

  /** Writes down that a name is no longer declared, where an unload call of before could not. */
  async #forgetOnDisk(name: string): Promise<void> {
    const { memory } = this.#deps;
    const unsaved = memory.isOnDisk(name) ? await memory.forgetDeclaration(name) : undefined;
    if (unsaved !== undefined) throw notForgotten(name, unsaved);
  }

  #refuseManifests(name: string, remedy: string): void {
    const a = this.#adapters.get(name);
    if (a?.declaration.origin === "manifest" && !a.removing)
      throw new RequestError(409, "NameConflict", `"${name}" belongs to a manifest of the adapters folder: ${remedy}`);
  }

  /** @param peers - sidecars that have its content; other ones are no other declaration */
  #declare(declaration: Declaration, peers: readonly string[] = []): void {
    const known = this.#adapters.get(declaration.name);
    this.#deps.keys.set(declaration.name, declaration.apiKey);
    this.#deps.memory.declaredBy(declaration.name, declaration);
    if (known === undefined) {
      const a = new Adapter(declaration, this.#loadedAs(declaration.name));
      a.peers = peers;
      this.#adapters.set(a.name, a);
      this.#kick(a);
      return;
    }
    known.peers = peers;
    if (known.removing) this.#drains.forget(declaration.name);
    known.redeclare(declaration);
    // What was to come next has come, or something else has; what is only told again changes nothing of that.
    if (isCome(known.next, declaration, known.wanted)) this.#endNext(known);
    if (known.swap === undefined) this.#drains.forget(declaration.name);
    this.#kick(known);
  }

  #endNext(a: Adapter): void {
    a.next?.end(new NoLongerWanted("it has come, or something else has"));
    a.next = undefined;
  }

  /** Nobody wants what was to come next. Its files lose their place where no engine was given them. */
  #giveUpNext(a: Adapter): void {
    if (a.next === undefined) return;
    this.#deps.log.info({ adapter: a.name, url: a.next.declaration.url }, "what was to come next is given up: nobody asks for it any more");
    this.#endNext(a);
    this.#track(this.#sweep(a.name));
  }

  /** Whether a declaration asks for exactly what an adapter has declared and serves. */
  #serves(a: Adapter, { url, content }: Declaration): boolean {
    const digest = a.served(this.#deps.observer.view)?.digest;
    return url === a.declaration.url && digest !== undefined && digest === content?.digest && digest === a.wanted?.digest;
  }

  #loadedAs(name: string): readonly LoadedPath[] {
    return this.#deps.memory.loaded.filter((l) => l.lora_name === name);
  }

  /** Lets requests end first. A second call may shorten the wait, and never makes it longer. */
  #drain(a: Adapter, graceMs: number): void {
    const { observer, now, log } = this.#deps;
    const untilMs = now() + graceMs;
    if (a.removing && untilMs >= (a.drainUntilMs ?? 0)) return;
    const drains = graceMs > 0 && a.served(observer.view) !== undefined;
    a.drainUntilMs = drains ? untilMs : undefined;
    this.#drains.forget(a.name);
    if (!drains) return;
    const onDrained = () => {
      if (this.#adapters.get(a.name) !== a || !a.removing) return;
      log.info({ adapter: a.name, graceLeftMs: Math.round(untilMs - now()) }, "no request of it is left: it is unloaded");
      a.drainUntilMs = undefined;
      this.#kick(a);
    };
    this.#drains.add(a.name, onDrained, this.#closed.signal);
  }

  #remove(a: Adapter): void {
    a.removing = true;
    a.swap = undefined;
    this.#endNext(a);
    a.probe?.abort();
    a.abortFetch();
    a.retryNow();
    this.#kick(a);
  }

  /** Does what there is to do for an adapter, step by step, until it has to wait for something. */
  #kick(a: Adapter): void {
    if (this.#closed.signal.aborted || this.#adapters.get(a.name) !== a) return;
    const { observer, now } = this.#deps;
    clearTimeout(a.timer);
    this.#endSwap(a);
    if (!a.isUndecided && this.#sweepLater.delete(a.name)) this.#track(this.#sweep(a.name));
    let step = plan(a.facts(), observer.view, now());
    if (step.kind === "fetch") {
      this.#start(
        a,
        this.#runner.fetch(a, () => this.#publishProgress(a), this.#closed.signal),
      );
      // The engine has nothing to do with that.
      step = plan(a.facts(), observer.view, now());
    }
    if (step.kind === "awaitSwap") this.#awaitSwap(a, step.content.path);
    if (step.kind === "forget" && !a.busyWithEngine) {
      this.#forget(a);
      return;
    } else if ((step.kind === "load" || step.kind === "probe" || step.kind === "unload") && !a.busyWithEngine) {
      a.busyWithEngine = true;
      this.#start(
        a,
        this.#run(a, step).finally(() => {
          a.busyWithEngine = false;
        }),
      );
    }
    // What is past already waits for something else: an engine that is away, say.
    const swapAtMs = a.swap?.open === false && a.swap.untilMs > now() ? a.swap.untilMs : undefined;
    const retryAtMs = soonest(nextRetryMs(a.facts(), now()), swapAtMs);
    if (retryAtMs !== undefined) a.timer = setTimeout(() => this.#kick(a), retryAtMs - now() + 1);
    this.#publish(a);
  }

  /** A swap is over once the new content serves, or nothing does whose requests could be waited for. */
  #endSwap(a: Adapter): void {
    const { view } = this.#deps.observer;
    if (a.swap === undefined || view.models === undefined || a.busyWithEngine) return;
    const serves = a.served(view)?.path;
    if (serves !== undefined && serves !== a.swap.path) return;
    a.swap = undefined;
    this.#drains.forget(a.name);
  }

  /** Lets requests of what serves end before newer content takes its place, or waits until there is room for both; up to a bound. */
  #awaitSwap(a: Adapter, path: string): void {
    const { now, log } = this.#deps;
    if (a.swap?.path !== path) {
      const { drainMs } = a.declaration;
      const sinceMs = now();
      const swap = { path, sinceMs, untilMs: sinceMs + (drainMs ?? DRAIN.swapGraceMs), open: false, waits: false };
      a.swap = swap;
      const onFree = () => {
        if (a.swap !== swap) return;
        swap.open = true;
        this.#kick(a);
      };
      const onWaits = () => {
        if (a.swap !== swap) return;
        swap.waits = true;
        this.#publish(a);
      };
      this.#drains.addSwap(a.name, drainMs !== undefined, onFree, onWaits, this.#closed.signal);
    }
    if (a.swap.open || now() < a.swap.untilMs) return;
    log.warn(
      { adapter: a.name },
      "requests of the content that served have not ended in their time: the new content takes its place all the same",
    );
    this.#drains.crowds(a.name);
    this.#drains.forget(a.name);
    a.swap.open = true;
    // Not from within: whoever asked has the rest of its turn to do.
    queueMicrotask(() => this.#kick(a));
  }

  #run(a: Adapter, step: Extract<Step, { kind: "load" | "probe" | "unload" }>): Promise<void> {
    const { observer, now } = this.#deps;
    const { signal } = this.#closed;
    const isCurrent = () => JSON.stringify(plan(a.facts(), observer.view, now())) === JSON.stringify(step);
    switch (step.kind) {
      case "load":
        return this.#runner.load(a, step, isCurrent, signal).finally(() => {
          // One wait is good for one try: what served may have been put back, and has requests again.
          if (a.swap?.path === step.content.path) a.swap = undefined;
          this.#noteSuperseded(a);
        });
      case "probe":
        return this.#runner.probe(a, step.content, isCurrent, signal).finally(() => this.#noteSuperseded(a));
      case "unload":
        // Its grace is over, and requests may go on in the engine: beside content that its name is given soon, too.
        if (a.drainUntilMs !== undefined) this.#drains.crowds(a.name);
        return this.#runner.unload(a, signal);
    }
  }

  #noteSuperseded({ name }: Adapter): void {
    this.#superseded.note(name, this.#deps.memory.superseded(name), this.#deps.now());
  }

  #start(a: Adapter, work: Promise<void>): void {
    this.#track(work.then(() => this.#kick(a)));
  }

  /** Work in the background, which {@link close} waits for. */
  #track(work: Promise<void>): void {
    const run = work
      .catch((error: unknown) => this.#deps.log.error({ stack: stackOf(error) }, "a step ended by an error that nobody expected"))
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  #forget(a: Adapter): void {
    const { memory, keys, feed, observer } = this.#deps;
    a.abortFetch();
    this.#endNext(a);
    clearTimeout(a.timer);
    this.#adapters.delete(a.name);
    this.#sweepLater.delete(a.name);
    this.#drains.forget(a.name);
    this.#superseded.forget(a.name);
    keys.set(a.name, undefined);
    feed.removeAdapter(a.name);
    const remember = async () => {
      await memory.setLoaded(a.name, new Map(), undefined);
      if (a.cleanupFiles) await memory.addCleanup(a.name, observer.bootId);
    };
    this.#track(remember());
  }

  #onEngine(view: EngineView): void {
    const { log } = this.#deps;
    const restarted = view.bootId !== this.#bootId;
    const before = this.#lastView;
    const cameBack = view.ready && !before.ready;
    if (view.bootId !== undefined && restarted) {
      this.#drains.onAnotherEngine();
      this.#superseded.onAnotherEngine();
      if (this.#bootId !== undefined) log.warn({ bootId: view.bootId }, "the engine has been restarted: its adapters are loaded again");
      this.#bootId = view.bootId;
      this.#track(this.#cleanUp(view.bootId));
    }
    this.#lastView = view;
    this.#track(this.#runner.sweepChecked(view.models?.keys() ?? [], this.#closed.signal));
    const concernsAll = restarted || differsBeyondAdapters(view, before);
    const again = restarted || cameBack ? this.#deps.memory.byLastUse() : [];
    // What waits for the engine is loaded in this order.
    for (const a of mostRecentFirst([...this.#adapters.values()], (a) => a.name, again)) {
      // Another process may have other settings: what the last one refused is tried again. Artifacts are as they were.
      if (restarted || cameBack) {
        a.gaveUp = false;
        a.forgetEngineFailures();
        if (a.next?.failure?.reason === "EngineUnauthorized" && !a.next.running) this.#prepare(a, a.next);
      }
      // Of hundreds of adapters one load concerns one.
      if (concernsAll || !sameModel(view.models?.get(a.name), before.models?.get(a.name))) this.#kick(a);
    }
  }

  /** Drops files that were given up or superseded, once the engine process that could read them is gone. */
  async #cleanUp(bootId: string): Promise<void> {
    const { memory, store, log } = this.#deps;
    for (const name of await memory.dueCleanups(bootId)) {
      if (this.#adapters.has(name)) continue;
      log.info({ adapter: name }, "its files are dropped");
      await store.drop(name).catch((error: unknown) => log.warn({ adapter: name, error: messageOf(error) }, "its files cannot be dropped"));
    }
    await this.#sweep();
  }

  /** @param only - files of this adapter; of all where absent */
  async #sweep(only?: string): Promise<void> {
    const { memory, store, log } = this.#deps;
    const isNeeded = (name: string, digest: string) => {
      if (memory.isReadable(name, digest)) return true;
      const a = this.#adapters.get(name);
      if (a?.isUndecided === true) this.#sweepLater.add(name);
      return a?.mayNeed(digest) === true;
    };
    await store
      .sweep(isNeeded, only)
      .catch((error: unknown) => log.warn({ error: messageOf(error) }, "files that nothing needs any more cannot be dropped"));
  }

  /** Progress comes with every chunk; whoever watches wants it now and then. */
  #publishProgress(a: Adapter): void {
    const { now } = this.#deps;
    if (now() - a.progressShownMs < PROGRESS_PERIOD_MS) return;
    a.progressShownMs = now();
    this.#publish(a);
  }

  #publish(a: Adapter): void {
    if (this.#adapters.get(a.name) !== a) return;
    const { observer, feed, now, timeOf } = this.#deps;
    a.observe(observer.view, now());
    const served = a.served(observer.view);
    if (served !== undefined && served.path === a.inDoubt) this.#track(this.#runner.foundServing(a, served));
    feed.setAdapter(a.status(observer.view, now(), timeOf));
  }
}

/** @throws RequestError 422 for a delivery that cannot work */
function deliveryOf({ delivery, artifact_url }: Pick<LoadRequest, "delivery" | "artifact_url">): Delivery | undefined {
  try {
    return readDelivery(delivery, artifact_url);
  } catch (error) {
    if (error instanceof AdapterError) throw new RequestError(422, error.reason, error.message, { cause: error.cause });
    throw error;
  }
}

function soonest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((t) => t !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function notRemembered(name: string, error: unknown): RequestError {
  return notWritten(`"${name}" is declared, but a restart of the runtime would forget it`, "load", error);
}

function notForgotten(name: string, error: unknown): RequestError {
  return notWritten(`"${name}" is no longer declared, but a restart of the runtime would load it again`, "unload", error);
}

function notWritten(what: string, call: string, error: unknown): RequestError {
  const code = ["ENOSPC", "EDQUOT"].includes(String((error as NodeJS.ErrnoException).code)) ? "StorageFull" : "StorageUnavailable";
  return new RequestError(
    503,
    code,
    `${what}, for that cannot be written down (${messageOf(error)}): see to the volume of --artifacts-dir, and call ${call} again`,
    { cause: error },
  );
}

function limitsOf({ limits }: Pick<LoadRequest, "limits">): Limits | undefined {
  return limits?.max_lora_rank === undefined ? undefined : { maxLoraRank: limits.max_lora_rank };
}

/** Whether what was to come next is what is declared now. */
function isCome(next: Preparation | undefined, { url }: Declaration, wanted: Content | undefined): boolean {
  if (next === undefined) return false;
  return next.content === undefined ? wanted === undefined && next.declaration.url === url : next.content === wanted;
}

function sameDeclaration(a: Declaration, b: Declaration): boolean {
  return JSON.stringify({ ...a, restored: undefined }) === JSON.stringify({ ...b, restored: undefined });
}

/** Puts what has a place in `names` first, in that order. */
function mostRecentFirst<T>(all: readonly T[], nameOf: (item: T) => string, names: readonly string[]): readonly T[] {
  const places = new Map(names.map((name, i) => [name, i]));
  const placeOf = (item: T) => places.get(nameOf(item)) ?? names.length;
  return [...all].sort((a, b) => placeOf(a) - placeOf(b));
}

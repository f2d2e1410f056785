import { DRAIN, maxLorasOf, PROBE, probeRequest, probeTimedOut, probeVerdict, refusalText, requestsOf, SwapRoom } from "@aibrix/api";
import type { Log } from "@aibrix/kube";
import { sleep } from "@aibrix/kube";
import pLimit from "p-limit";
import type { Dispatcher } from "undici";
import { engineRoot } from "../pods/delivery.ts";
import {
  type AdapterView,
  CallCancelled,
  CallError,
  LOST_AFTER_MS,
  type LoadCall,
  lostView,
  NOTHING_KNOWN,
  type PodAgent,
  type PodView,
  type UnloadCall,
} from "./agent.ts";
import { type Answer, call, isRefused, isTimeout } from "./http.ts";
import { refusalError } from "./refusals.ts";

export interface DirectOptions {
  /** URL of the engine, without a slash at the end. */
  readonly url: string;
  readonly pod: string;
  readonly dispatcher: Dispatcher;
  readonly onChange: (names: readonly string[] | undefined) => void;
  readonly log: Log;
  /** Time between two looks at the engine's list, in milliseconds. 5 s where absent. */
  readonly periodMs?: number;
  readonly lostAfterMs?: number;
}

/** A load may be a download inside the engine. */
const LOAD_TIMEOUT_MS = 600_000;
const UNLOAD_TIMEOUT_MS = 30_000;
const LIST_TIMEOUT_MS = 5_000;

/** Talks to a vLLM without sidecar: calls its own adapter routes and looks at its list of models, while anybody follows an adapter there. */
export class DirectAgent implements PodAgent {
  readonly via = "direct";
  readonly #options: DirectOptions;
  /** Adapters that somebody wants to know about, with the key of each. */
  readonly #followed = new Map<string, string | undefined>();
  #view: PodView = NOTHING_KNOWN;
  #lastAnswerMs = performance.now();
  #wake = new AbortController();
  #goodKey: string | undefined;
  /** Names that we had it load, and that have not answered a request yet. */
  readonly #unproven = new Set<string>();
  /** Names that serve or have served here, while they are followed: neither after a restart of the engine nor with newer content they are asked again. */
  readonly #served = new Set<string>();
  /** `--max-loras` of the engine that runs, as its metrics tell once a request has run. */
  #maxLoras: number | undefined;
  readonly #room = new SwapRoom();
  /** How long the engine took for its last load of a name, in milliseconds. */
  readonly #loadMs = new Map<string, number>();
  /** Names that go once requests of them have ended. */
  readonly #waiting = new Set<string>();
  /** A look at its metrics that is under way. */
  #looking: Promise<string> | undefined;
  /** An engine takes one load at a time. */
  readonly #loads = pLimit(1);
  /** Counts doubts: an answer to a question of before says nothing. */
  #doubts = 0;

  constructor(options: DirectOptions) {
    this.#options = options;
  }

  get view(): PodView {
    return this.#view;
  }

  async load(c: LoadCall, signal: AbortSignal): Promise<void> {
    const root = engineRoot(c.delivery);
    if (root === undefined) throw new CallError("VolumeMissing", `the engine cannot read ${c.artifactUrl} itself`, { retryable: false });
    const asks = c.probe !== "off" && !this.#served.has(c.name);
    await this.#loads(() => this.#loadOnce(c, root, asks, signal));
    if (asks) await this.#probe(c, signal);
    this.#unproven.delete(c.name);
    this.#served.add(c.name);
    await this.#learnLimits(signal);
    // What counts is the engine's list, not its word.
    await this.#look(signal);
  }

  /** @throws {@link CallError} where the engine does not take the key: nobody is there who could fetch anything */
  async prepare({ apiKey }: LoadCall, signal: AbortSignal): Promise<void> {
    adaptersOf(await this.#call("GET", "/v1/models", { apiKey, timeoutMs: LIST_TIMEOUT_MS }, signal));
  }

  /** Has the engine list it; one that does so already, and was not known to answer, is not asked to load it again, nor to unload it for that. */
  async #loadOnce({ name, apiKey }: LoadCall, root: string, asks: boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const listed = this.#view.adapters.get(name)?.root;
    if (listed === root && (asks || this.#unproven.has(name))) {
      this.#unproven.add(name);
      return;
    }
    if (this.#unproven.has(name) && listed !== undefined) await this.#unloadOnce(name, apiKey, signal);
    if (asks) this.#unproven.add(name);
    const body = { lora_name: name, lora_path: root };
    const askedMs = performance.now();
    const answer = await this.#call("POST", "/v1/load_lora_adapter", { body, apiKey, timeoutMs: LOAD_TIMEOUT_MS }, signal);
    if (answer.status === 200) {
      this.#loadMs.set(name, performance.now() - askedMs);
      return;
    }
    this.#unproven.delete(name);
    throw refusalError(answer, root);
  }

  /** A request like any other, beside the loads of others. */
  async #probe({ name, apiKey }: LoadCall, signal: AbortSignal): Promise<void> {
    // It is listed and does not serve: whoever asks meanwhile is told so.
    await this.#look(signal);
    const call = { body: probeRequest(name), apiKey, timeoutMs: PROBE.timeoutMs };
    const answer = await this.#call("POST", PROBE.path, call, signal).catch((error: unknown) => {
      throw isTimeout(error) ? new CallError("ProbeFailed", probeTimedOut(), { retryable: true, cause: error }) : error;
    });
    const verdict = probeVerdict(answer.status, refusalText(answer.body));
    if (verdict.kind === "failed") throw new CallError("ProbeFailed", verdict.message, { retryable: true });
  }

  async unload(call: UnloadCall, signal: AbortSignal, cancelled?: AbortSignal): Promise<void> {
    const { name, apiKey, roots, answered } = call;
    if (roots !== undefined && !(await this.#hasFrom(name, roots, signal))) return;
    // An earlier process may have had it loaded, or an adapter of before that had the same name.
    if (answered === true) this.#served.add(name);
    else this.#served.delete(name);
    try {
      if (this.#view.adapters.get(name)?.serving === true) await this.#drained(call, signal, cancelled);
      // Who deletes an adapter and its Secret leaves us without the key.
      await this.#unloadOnce(name, apiKey ?? this.#followed.get(name) ?? this.#goodKey, signal);
      this.#unproven.delete(name);
      await this.#look(signal);
    } finally {
      // Not before it is gone: nobody is to be sent there for the moment between.
      this.#waits(name, false);
    }
  }

  /**
   * Whether the engine lists an adapter with weights from one of these places.
   *
   * @throws CallError where it does not say
   */
  async #hasFrom(name: string, roots: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { root, base } = adaptersOf(await this.#list(signal)).get(name) ?? {};
    return root !== undefined && base === false && roots.includes(root);
  }

  /**
   * Returns when no request of that name runs or waits any more, or they have had their time; of a swap also where the engine has room for the new
   * content beside them.
   *
   * @throws CallCancelled
   */
  async #drained({ name, swaps = false, graceSeconds }: UnloadCall, signal: AbortSignal, cancelled = signal): Promise<void> {
    const either = AbortSignal.any([signal, cancelled]);
    const untilMs = performance.now() + graceSeconds * 1_000;
    let blindSinceMs = performance.now();
    let waitMs: number = swaps ? 0 : DRAIN.firstLookMs;
    for (;;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) break;
      await sleep(Math.min(waitMs, leftMs), either);
      signal.throwIfAborted();
      if (either.aborted) throw new CallCancelled();
      const page = await this.#page(signal);
      this.#room.note(page);
      const requests = requestsOf(page, name);
      if (requests === "none") return;
      if (requests === "some") blindSinceMs = performance.now();
      // It tells nothing, and may never: nobody knows what runs.
      else if (performance.now() - blindSinceMs > DRAIN.blindMs) break;
      if (swaps && this.#room.take(page, name)) return;
      this.#waits(name, true);
      waitMs = swaps ? DRAIN.swapPeriodMs : DRAIN.periodMs;
    }
    this.#room.crowds(name);
  }

  /** Shows whether an adapter goes once its requests have ended. */
  #waits(name: string, waits: boolean): void {
    if (this.#waiting.has(name) === waits) return;
    if (waits) this.#waiting.add(name);
    else this.#waiting.delete(name);
    const entry = this.#view.adapters.get(name);
    if (entry === undefined) return;
    this.#view = { ...this.#view, adapters: new Map(this.#view.adapters).set(name, { ...entry, waits }) };
    this.#options.onChange([name]);
  }

  /** The engine's metrics; one look is for all that drain. Empty where they cannot be had. */
  #page(signal: AbortSignal): Promise<string> {
    this.#looking ??= this.#call("GET", "/metrics", { apiKey: this.#goodKey, timeoutMs: LIST_TIMEOUT_MS }, signal)
      .then(({ status, body }) => (status === 200 ? body : ""))
      .catch(() => "")
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  /** One look at its metrics for an engine that has not told yet. */
  async #learnLimits(signal: AbortSignal): Promise<void> {
    if (this.#maxLoras === undefined) this.#maxLoras = maxLorasOf(await this.#page(signal));
  }

  async #unloadOnce(name: string, apiKey: string | undefined, signal: AbortSignal): Promise<void> {
    const call = { body: { lora_name: name }, apiKey, timeoutMs: UNLOAD_TIMEOUT_MS };
    const answer = await this.#call("POST", "/v1/unload_lora_adapter", call, signal);
    const notThere = answer.status === 404 && refusalText(answer.body) !== "Not Found";
    if (answer.status === 200 || notThere) return;
    const error = refusalError(answer);
    // What is to go is asked for until it has gone: no edit would help.
    throw error.reason === "EngineRefused" ? new CallError(error.reason, error.message, { retryable: true }) : error;
  }

  release(call: UnloadCall, signal: AbortSignal): Promise<void> {
    return this.unload({ ...call, graceSeconds: 0 }, signal);
  }

  refresh(signal: AbortSignal): Promise<void> {
    return this.#look(signal);
  }

  doubt(problem: string): void {
    this.#doubts++;
    if (this.#view.knowledge === "fresh") {
      this.#view = lostView(this.#view, problem);
      this.#options.onChange(undefined);
    }
    this.#wake.abort();
  }

  follow(name: string, apiKey: string | undefined): void {
    const key = apiKey ?? this.#followed.get(name);
    if (this.#followed.has(name) && this.#followed.get(name) === key) return;
    const first = this.#followed.size === 0;
    this.#followed.set(name, key);
    if (first) this.#lastAnswerMs = performance.now();
    this.#wake.abort();
  }

  unfollow(name: string): void {
    this.#followed.delete(name);
    this.#served.delete(name);
    this.#loadMs.delete(name);
    // Nobody looks any more: what was seen grows old.
    if (this.#followed.size === 0) this.#view = NOTHING_KNOWN;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const either = AbortSignal.any([signal, this.#wake.signal]);
      if (this.#followed.size > 0) {
        const before = this.#view.knowledge;
        await this.#look(signal);
        if (before !== "fresh" && this.#view.knowledge === "fresh") await this.#learnLimits(signal);
        // Else a swap that did not wait would keep the next one waiting.
        if (this.#room.isCrowded) this.#room.note(await this.#page(signal));
      }
      await sleep(this.#followed.size > 0 ? (this.#options.periodMs ?? 5_000) : 60_000, either);
    }
  }

  /** Looks at the engine's list. Never rejects. */
  async #look(signal: AbortSignal): Promise<void> {
    const doubts = this.#doubts;
    let seen: ReadonlyMap<string, AdapterView> | undefined;
    let failure: unknown;
    try {
      seen = this.#told(adaptersOf(await this.#list(signal)));
    } catch (error) {
      failure = error;
    }
    if (signal.aborted || doubts !== this.#doubts) return;
    const before = this.#view;
    if (seen !== undefined) {
      this.#lastAnswerMs = performance.now();
      const engineLimits =
        this.#maxLoras === undefined ? undefined : { maxLoras: this.#maxLoras, maxCpuLoras: undefined, maxLoraRank: undefined };
      this.#view = { ...NOTHING_KNOWN, knowledge: "fresh", reborn: before.reborn, engineReady: true, engineLimits, adapters: seen };
    } else this.#view = this.#without(failure);
    // The next one may have been started with other arguments, and has no request of this one.
    if (this.#view.knowledge === "lost") {
      this.#maxLoras = undefined;
      this.#room.clear();
    }
    const changed = changes(before, this.#view);
    if (before.knowledge !== this.#view.knowledge) this.#options.onChange(undefined);
    else if (changed.length > 0) this.#options.onChange(changed);
  }

  /** With what we know ourselves: what is listed and has not answered does not serve yet. */
  #told(listed: ReadonlyMap<string, AdapterView>): ReadonlyMap<string, AdapterView> {
    if (this.#unproven.size + this.#waiting.size + this.#loadMs.size === 0) return listed;
    return new Map(
      [...listed].map(([name, a]): [string, AdapterView] => {
        const loadMs = this.#loadMs.get(name);
        const timed = loadMs === undefined ? a : { ...a, timings: { downloadMs: undefined, loadMs } };
        if (this.#unproven.has(name)) return [name, { ...timed, state: "Loading", serving: false }];
        return [name, this.#waiting.has(name) ? { ...timed, waits: true } : timed];
      }),
    );
  }

  /**
   * What is known after a look in vain. An engine that does not listen does not run, and one that wants another key says so until an edit; one
   * that is slow, or answers with an error, may be busy: what it listed is believed for a while.
   */
  #without(failure: unknown): PodView {
    const before = this.#view;
    const problem = failure instanceof Error ? failure.message : String(failure);
    const refused = isRefused(failure);
    const denied = failure instanceof CallError && !failure.retryable ? failure.reason : undefined;
    const silentMs = performance.now() - this.#lastAnswerMs;
    const lost = refused || denied !== undefined || silentMs > (this.#options.lostAfterMs ?? LOST_AFTER_MS);
    this.#options.log.debug({ pod: this.#options.pod, problem }, "the engine's list could not be had");
    const view = lost ? lostView(before, problem, denied) : { ...before, problem, problemReason: denied };
    return { ...view, reborn: before.reborn || refused };
  }

  /** The list, asked for with the key that worked last, then without, then with each that is known. */
  async #list(signal: AbortSignal): Promise<Answer> {
    let answer: Answer = { status: 401, body: "" };
    for (const apiKey of new Set([this.#goodKey, undefined, ...this.#followed.values()])) {
      answer = await this.#call("GET", "/v1/models", { apiKey, timeoutMs: LIST_TIMEOUT_MS }, signal);
      if (answer.status === 401) continue;
      this.#goodKey = apiKey;
      break;
    }
    return answer;
  }

  async #call(
    method: "GET" | "POST",
    path: string,
    options: { readonly body?: object; readonly apiKey: string | undefined; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<Answer> {
    const { dispatcher, url } = this.#options;
    return await call(dispatcher, { method, url: `${url}${path}`, ...options }, "EngineUnavailable", signal);
  }
}

/**
 * What an engine's answer lists. Pure.
 *
 * @throws {@link CallError}: final where it wants another key, retryable for every other answer that is no list
 */
export function adaptersOf(answer: Answer): ReadonlyMap<string, AdapterView> {
  if (answer.status === 401) throw refusalError(answer);
  const adapters = answer.status === 200 ? readModels(answer.body) : undefined;
  if (adapters !== undefined) return adapters;
  const said = answer.status === 200 ? "something that is no list of models" : `HTTP ${answer.status}`;
  throw new CallError(
    "EngineUnavailable",
    `the engine answers GET /v1/models with ${said}: look into its log, and check the port in the label model.aibrix.ai/port; it is asked again`,
    { retryable: true },
  );
}

/** The engine's names; `undefined` for what is no list. */
function readModels(body: string): ReadonlyMap<string, AdapterView> | undefined {
  let data: unknown;
  try {
    data = (JSON.parse(body) as { data?: unknown } | null)?.data;
  } catch {
    return undefined;
  }
  if (!Array.isArray(data)) return undefined;
  const rows = data.flatMap((m: { id?: unknown; root?: unknown; parent?: unknown } | null) =>
    typeof m?.id === "string" ? [{ ...m, id: m.id }] : [],
  );
  return new Map(
    rows.map((m) => [
      m.id,
      {
        name: m.id,
        state: "Serving",
        serving: true,
        base: typeof m.parent !== "string",
        own: undefined,
        artifactUrl: undefined,
        root: typeof m.root === "string" ? m.root : undefined,
        contentDigest: undefined,
        attempts: 0,
        reason: undefined,
        message: undefined,
        retryable: true,
        nextRetryTime: undefined,
      },
    ]),
  );
}

/** Names that came, went, changed their root, or whether they serve. */
function changes(a: PodView, b: PodView): string[] {
  const names = new Set([...a.adapters.keys(), ...b.adapters.keys()]);
  const same = (x: AdapterView | undefined, y: AdapterView | undefined) => x?.root === y?.root && x?.serving === y?.serving;
  return [...names].filter((n) => !same(a.adapters.get(n), b.adapters.get(n)) || a.adapters.has(n) !== b.adapters.has(n));
}

import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import {
  type AdapterStatus,
  AdapterStatusSchema,
  BOOKMARK_PERIOD_MS,
  CONFIG_API_KEY,
  type EngineStatus,
  EngineStatusSchema,
  type LoadRequest,
  modelAdapterOf,
  type Prepared,
  type PrepareRequest,
  REASONS,
  type Reason,
  RUNTIME_PATHS,
  SnapshotSchema,
  type UnloadRequest,
} from "@aibrix/api";
import { type BackoffOptions, backoffMs, type Log, sleep } from "@aibrix/kube";
import { Value } from "typebox/value";
import { type Dispatcher, request } from "undici";
import { deliveryRequest } from "../pods/delivery.ts";
import {
  type AdapterView,
  CallError,
  type EngineLimits,
  type LoadCall,
  lostView,
  NOTHING_KNOWN,
  type PodAgent,
  type PodView,
  type PreparedView,
  type UnloadCall,
} from "./agent.ts";
import { type Answer, call, failureText } from "./http.ts";
import { jsonLines } from "./json-lines.ts";

export interface SidecarOptions {
  /** URL of the sidecar, without a slash at the end. */
  readonly url: string;
  /** The pod, for logs. */
  readonly pod: string;
  readonly dispatcher: Dispatcher;
  /** File with the token that the sidecar wants for load and unload. Read at each call: a mounted Secret changes. */
  readonly tokenFile?: string | undefined;
  /** Called with the names whose state changed; `undefined` for all of the pod's. */
  readonly onChange: (names: readonly string[] | undefined) => void;
  readonly log: Log;
  /** Silence after which a stream is dead and what it said is no longer believed, in milliseconds. Three bookmarks where absent. */
  readonly silenceMs?: number;
  readonly backoff?: BackoffOptions;
}

/** The sidecar answers at once whatever it has to do; this is for one that hangs. */
const CALL_TIMEOUT_MS = 10_000;
/** How long an unload in the engine may take, and how often its end is asked for, in milliseconds. */
const [RELEASE_TIMEOUT_MS, RELEASE_PERIOD_MS] = [30_000, 100];
/** Fields that a sidecar of an earlier release may be spared. */
const SPARE = ["limits", "owner", "adopt", "probe", "grace_seconds", "content", "peers", "drain_seconds"] as const;
type Spare = (typeof SPARE)[number];
const RECONNECT: BackoffOptions = { baseMs: 100, maxMs: 5_000 };
/** The same before it has answered once: a new pod is ready soon after its sidecar listens, and has to be told before what it should have. */
const CONNECT: BackoffOptions = { baseMs: 100, maxMs: 1_000 };

/** Talks to the sidecar of a pod, and follows its stream of changes. */
export class SidecarAgent implements PodAgent {
  readonly via = "sidecar";
  readonly #options: SidecarOptions;
  readonly #silenceMs: number;
  /** The view's own, changed in place: a copy for every change would cost with the square of the adapters. */
  #adapters = new Map<string, AdapterView>();
  #view: PodView = NOTHING_KNOWN;
  #engineReady = false;
  #silence: NodeJS.Timeout | undefined;
  /** Fields that a sidecar does not know, and its instance. */
  #unknown: { readonly instance: string | undefined; readonly fields: ReadonlySet<Spare> } = { instance: undefined, fields: new Set() };

  /** The instance that tries no key and no credentials before they are used: it is of a release before that. */
  #provesNot: string | undefined;

  constructor(options: SidecarOptions) {
    this.#options = options;
    this.#silenceMs = options.silenceMs ?? 3 * BOOKMARK_PERIOD_MS;
  }

  get view(): PodView {
    return this.#view;
  }

  async prepare(c: LoadCall, signal: AbortSignal): Promise<void> {
    const delivery = deliveryRequest(c.delivery);
    const body: PrepareRequest = {
      lora_name: c.name,
      artifact_url: c.artifactUrl,
      ...credentialsOf(c),
      ...(this.#provesNot === (this.#view.instance ?? "") ? {} : proofOf(c)),
      ...(delivery === undefined ? {} : { delivery }),
      ...(c.maxLoraRank === undefined ? {} : { limits: { max_lora_rank: c.maxLoraRank } }),
      ...(c.content === undefined ? {} : { content: c.content }),
      ...peersOf(c),
      ...(c.refresh === undefined ? {} : { refresh: c.refresh }),
      ...(c.checks === undefined ? {} : { checks: [...c.checks] }),
      owner: c.owner,
    };
    const answer = await this.#postSparing(RUNTIME_PATHS.prepare, body, signal);
    const isTried = body.prove === true || body.additional_config !== undefined;
    if (isTried && (isUnknownField(answer, "prove") || isUnknownField(answer, "additional_config"))) {
      this.#provesNot = this.#view.instance ?? "";
      return await this.prepare(c, signal);
    }
    // One that is not there at all: the sidecar is of an earlier release.
    if (answer.status === 404 && !errorMessage(answer.body).startsWith("no adapter")) {
      this.#view = { ...this.#view, prepares: false };
      this.#options.log.info(
        { pod: this.#options.pod },
        "the sidecar is of an earlier release: new content is fetched where it takes the old one's place",
      );
      this.#options.onChange([c.name]);
      return;
    }
    refuseUnlessOk(answer);
  }

  async load(c: LoadCall, signal: AbortSignal): Promise<void> {
    const config = { ...c.additionalConfig, ...(c.apiKey === undefined ? {} : { [CONFIG_API_KEY]: c.apiKey }) };
    const request = deliveryRequest(c.delivery);
    const body: LoadRequest = {
      lora_name: c.name,
      artifact_url: c.artifactUrl,
      ...credentialsOf(c),
      ...(Object.keys(config).length === 0 ? {} : { additional_config: config }),
      ...(request === undefined ? {} : { delivery: request }),
      ...(c.maxLoraRank === undefined ? {} : { limits: { max_lora_rank: c.maxLoraRank } }),
      ...(c.content === undefined ? {} : { content: c.content }),
      ...peersOf(c),
      ...(c.drainSeconds === undefined ? {} : { drain_seconds: c.drainSeconds }),
      owner: c.owner,
      ...(c.adopt ? { adopt: true } : {}),
      // Without it the sidecar's own flag counts.
      ...(c.probe === "off" ? { probe: "off" } : {}),
    };
    refuseUnlessOk(await this.#postSparing(RUNTIME_PATHS.load, body, signal));
  }

  async unload({ name, owner, cleanup, graceSeconds }: UnloadCall, signal: AbortSignal): Promise<void> {
    const answer = await this.#postUnload(name, owner, cleanup, signal, graceSeconds);
    if (answer.status !== 404) refuseUnlessOk(answer);
  }

  async release({ name, cleanup }: UnloadCall, signal: AbortSignal): Promise<void> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(RELEASE_TIMEOUT_MS)]);
    // Nobody has followed its stream: it is asked whose the adapter is.
    const owner = await this.#ownerOf(name, within);
    // It goes on by itself after 202, and knows nothing of the adapter any more once the engine has unloaded it.
    for (let answer = await this.#postUnload(name, owner, cleanup, within); answer.status !== 404; ) {
      refuseUnlessOk(answer);
      if (!(await sleep(RELEASE_PERIOD_MS, within)))
        throw new CallError("RuntimeUnavailable", "the sidecar aibrix-runtime does not get the adapter out of the engine", {
          retryable: true,
        });
      answer = await this.#postUnload(name, owner, cleanup, within);
    }
  }

  async #postUnload(name: string, owner: string | undefined, cleanup: boolean, signal: AbortSignal, graceSeconds = 0): Promise<Answer> {
    const body: UnloadRequest = {
      lora_name: name,
      cleanup_local: cleanup,
      ...(owner === undefined ? {} : { owner }),
      ...(graceSeconds === 0 ? {} : { grace_seconds: graceSeconds }),
    };
    return await this.#postSparing(RUNTIME_PATHS.unload, body, signal);
  }

  /** Who declared an adapter of ours, as the sidecar says now. */
  async #ownerOf(name: string, signal: AbortSignal): Promise<string | undefined> {
    const { dispatcher, url } = this.#options;
    const request = { method: "GET", url: `${url}${RUNTIME_PATHS.adapters}`, timeoutMs: CALL_TIMEOUT_MS } as const;
    const { status, body } = await call(dispatcher, request, "RuntimeUnavailable", signal);
    const snapshot: unknown = status === 200 ? JSON.parse(body) : undefined;
    const entry = Value.Check(SnapshotSchema, snapshot) ? snapshot.adapters.find((a) => a.lora_name === name) : undefined;
    return entry?.owner ?? undefined;
  }

  /** An older sidecar does not know every field. Some it does well without: what the engine does not take, for example, it refuses itself. */
  async #postSparing(path: string, body: LoadRequest | PrepareRequest | UnloadRequest, signal: AbortSignal): Promise<Answer> {
    const { instance } = this.#view;
    const known = instance !== undefined && instance === this.#unknown.instance ? this.#unknown.fields : new Set<Spare>();
    const sent = Object.fromEntries(Object.entries(body).filter(([field]) => !known.has(field as Spare)));
    const answer = await this.#post(path, sent, signal);
    // Credentials that a Secret keeps to some hosts are for no sidecar that cannot keep them there.
    if (isUnknownField(answer, "credentials_hosts"))
      throw new CallError(
        "RuntimeUnavailable",
        "the sidecar aibrix-runtime is older than the controller and cannot keep the Secret's credentials to its allowed hosts: upgrade the image of the pod's container aibrix-runtime to the controller's release",
        { retryable: false },
      );
    const spare = SPARE.find((field) => field in sent && isUnknownField(answer, field));
    if (spare === undefined) return answer;
    this.#unknown = { instance, fields: new Set([...known, spare]) };
    const { [spare]: _, ...rest } = sent;
    return await this.#postSparing(path, rest as LoadRequest | PrepareRequest | UnloadRequest, signal);
  }

  async refresh(): Promise<void> {
    // The stream tells of every change.
  }

  doubt(): void {
    // As above.
  }

  follow(): void {
    // The stream tells of every adapter.
  }

  unfollow(): void {
    // As above.
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#listen();
    for (let failures = 0; !signal.aborted; ) {
      const stream = new AbortController();
      const onAbort = () => stream.abort(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      const startMs = performance.now();
      try {
        for await (const event of this.#events(stream)) {
          this.#take(event);
          // One that begins well and breaks at once is no better than none.
          if (performance.now() - startMs > BOOKMARK_PERIOD_MS) failures = 0;
        }
        this.#problem("the sidecar aibrix-runtime ended its stream");
      } catch (error) {
        if (!signal.aborted) this.#problem(`the sidecar aibrix-runtime ${failureText(error, this.#silenceMs)}`);
      } finally {
        signal.removeEventListener("abort", onAbort);
        stream.abort();
      }
      failures++;
      await sleep(backoffMs(this.#options.backoff ?? (this.#view.instance === undefined ? CONNECT : RECONNECT), failures), signal);
    }
    clearTimeout(this.#silence);
  }

  async *#events(stream: AbortController): AsyncGenerator<unknown> {
    const { url, dispatcher } = this.#options;
    // One deadline for connecting and for every line: three missed bookmarks, and the stream is dead.
    const silent = new DOMException("silent", "TimeoutError");
    let timer = setTimeout(() => stream.abort(silent), this.#silenceMs);
    try {
      const answer = await request(`${url}${RUNTIME_PATHS.adapters}?watch=true`, { dispatcher, signal: stream.signal });
      if (answer.statusCode !== 200) throw new Error(`HTTP ${answer.statusCode} to the watch of adapters: is its image of this release?`);
      for await (const event of jsonLines(answer.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => stream.abort(silent), this.#silenceMs);
        yield event;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(event: unknown): void {
    const { type, object, lora_name } = (event ?? {}) as { type?: unknown; object?: unknown; lora_name?: unknown };
    if (type !== "SNAPSHOT" && this.#view.knowledge !== "fresh") {
      // After a loss only a snapshot tells everything; a stream begins with one.
      throw new Error("its stream did not begin with a snapshot");
    }
    this.#apply(type, object, lora_name);
    // Garbage is as good as silence.
    this.#listen();
  }

  #apply(type: unknown, object: unknown, lora_name: unknown): void {
    switch (type) {
      case "SNAPSHOT": {
        const snapshot = Value.Parse(SnapshotSchema, object);
        const { engine } = snapshot;
        this.#engineReady = engine.ready;
        this.#adapters = new Map(snapshot.adapters.map((a) => [a.lora_name, this.#adapterView(a, true)]));
        this.#view = {
          ...NOTHING_KNOWN,
          knowledge: "fresh",
          instance: snapshot.instance_id,
          engineReady: engine.ready,
          engineMessage: engine.message,
          engineLimits: limitsOf(engine),
          adapters: this.#adapters,
        };
        this.#options.onChange(undefined);
        return;
      }
      case "ADAPTER": {
        const view = this.#adapterView(Value.Parse(AdapterStatusSchema, object), false);
        // A download's progress is not shown here.
        if (isDeepStrictEqual(this.#adapters.get(view.name), view)) return;
        this.#adapters.set(view.name, view);
        this.#options.onChange([view.name]);
        return;
      }
      case "DELETED": {
        this.#adapters.delete(String(lora_name));
        this.#options.onChange([String(lora_name)]);
        return;
      }
      case "ENGINE": {
        const engine = Value.Parse(EngineStatusSchema, object);
        const engineLimits = limitsOf(engine);
        const changed = engine.ready !== this.#engineReady || !isDeepStrictEqual(engineLimits, this.#view.engineLimits);
        this.#view = { ...this.#view, engineReady: engine.ready, engineMessage: engine.message, engineLimits };
        if (changed) this.#options.onChange(undefined);
        this.#engineReady = engine.ready;
        return;
      }
      // Bookmarks say that it lives; kinds of a later version are passed over.
      default:
        return;
    }
  }

  #adapterView(a: AdapterStatus, inSnapshot: boolean): AdapterView {
    const namespace = this.#options.pod.slice(0, this.#options.pod.indexOf("/"));
    return adapterView(a, ownership(a, namespace, this.#adapters.get(a.lora_name), inSnapshot));
  }

  /** Begins the silence anew after which what is known is no longer believed. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const problem = this.#view.problem ?? "the sidecar aibrix-runtime fell silent";
      this.#view = lostView(this.#view, problem);
      this.#options.log.warn({ pod: this.#options.pod, problem }, "nothing is known of the pod's adapters any more");
      this.#options.onChange(undefined);
    }, this.#silenceMs);
  }

  #problem(problem: string): void {
    this.#view = { ...this.#view, problem: `${problem}: look into the log of the pod's container aibrix-runtime` };
    this.#options.log.debug({ pod: this.#options.pod, problem }, "the stream of a sidecar ended");
  }

  async #post(path: string, body: object, signal: AbortSignal): Promise<Answer> {
    const { dispatcher, url, tokenFile } = this.#options;
    const apiKey = tokenFile === undefined ? undefined : await readToken(tokenFile);
    const request = { method: "POST", url: `${url}${path}`, body, apiKey, timeoutMs: CALL_TIMEOUT_MS } as const;
    return await call(dispatcher, request, "RuntimeUnavailable", signal);
  }
}

/**
 * Whose an adapter is. Pure.
 *
 * @param namespace - of the pod: a ModelAdapter of its name there is who may have declared it for us
 * @param before - what was known of it
 * @param inSnapshot - it may have been there before the stream began; else it has just come, or changed
 */
export function ownership(
  { lora_name: name, origin, owner }: AdapterStatus,
  namespace: string,
  before: AdapterView | undefined,
  inSnapshot: boolean,
): Pick<AdapterView, "own" | "owner" | "manifest"> {
  if (origin === "manifest") return { own: false, manifest: true };
  // A sidecar of before knows no owners: what calls declared counts as ours, as it did.
  if (owner === undefined) return { own: true };
  if (owner !== null) {
    const adapter = modelAdapterOf(owner);
    return { own: adapter?.namespace === namespace && adapter.name === name, owner };
  }
  // Ours come with an owner: what has come without one while we watched is somebody else's.
  const wasUnsaid = before?.own === "unsaid";
  const wasUntold = before === undefined || (before.own === true && before.owner === undefined);
  return { own: wasUnsaid || (inSnapshot && wasUntold) ? "unsaid" : false };
}

function credentialsOf(c: LoadCall): Pick<LoadRequest, "credentials" | "credentials_hosts"> {
  if (c.credentials === undefined) return {};
  const hosts = c.credentialsHosts === undefined ? {} : { credentials_hosts: [...c.credentialsHosts] };
  return { credentials: { ...c.credentials }, ...hosts };
}

function peersOf({ peers }: LoadCall): Pick<LoadRequest, "peers"> {
  return peers === undefined || peers.length === 0 ? {} : { peers: [...peers] };
}

function preparedView(p: Prepared): PreparedView {
  return {
    artifactUrl: p.artifact_url,
    refresh: p.refresh,
    state: p.state,
    ...(p.checks === undefined ? {} : { checks: p.checks }),
    contentDigest: p.content_digest,
    revision: p.resolved_revision,
    attempts: p.attempts,
    reason: p.reason,
    message: p.message,
    retryable: p.retryable ?? true,
    nextRetryTime: p.next_retry_time,
  };
}

function adapterView(a: AdapterStatus, whose: Pick<AdapterView, "own" | "owner" | "manifest">): AdapterView {
  return {
    name: a.lora_name,
    state: a.state,
    serving: a.serving !== null,
    base: false,
    ...whose,
    artifactUrl: a.artifact_url,
    root: a.serving?.path,
    contentDigest: a.serving?.content_digest,
    attempts: a.attempts,
    reason: a.reason,
    message: a.message,
    retryable: a.retryable ?? true,
    nextRetryTime: a.next_retry_time,
    maxRank: a.max_rank,
    declaredDigest: a.content_digest,
    revision: a.resolved_revision,
    ...(a.waits_since === undefined ? {} : { waits: true }),
    ...(a.swapping === true ? { swapping: true } : {}),
    ...(a.prepared === undefined ? {} : { prepared: preparedView(a.prepared) }),
    timings: a.timings === undefined ? undefined : { downloadMs: a.timings.download_ms, loadMs: a.timings.load_ms },
  };
}

function limitsOf({ limits }: EngineStatus): EngineLimits | undefined {
  if (limits === undefined) return undefined;
  return { maxLoras: limits.max_loras, maxCpuLoras: limits.max_cpu_loras, maxLoraRank: limits.max_lora_rank };
}

interface RuntimeError {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly retryable?: unknown;
}

function errorOf(body: string): RuntimeError {
  try {
    return (JSON.parse(body) as { error?: RuntimeError } | null)?.error ?? {};
  } catch {
    return {}; // Not the runtime's own words: the status says what matters.
  }
}

function errorMessage(body: string): string {
  const { message } = errorOf(body);
  return typeof message === "string" ? message : "";
}

/** Whether a sidecar refuses a request for a field that a later release has. */
function isUnknownField({ status, body }: Answer, field: string): boolean {
  const { message } = errorOf(body);
  return status === 400 && typeof message === "string" && message.startsWith(`${field}: is not a field`);
}

/** Checks ask the engine, so they need the key as much as its proof does: the edit that brings new content may bring another one. */
function proofOf({ apiKey, proves, checks }: LoadCall): Pick<PrepareRequest, "prove" | "additional_config"> {
  const usesKey = apiKey !== undefined && (proves === true || checks !== undefined);
  return {
    ...(proves === true ? { prove: true } : {}),
    ...(usesKey ? { additional_config: { [CONFIG_API_KEY]: apiKey } } : {}),
  };
}

/** @throws {@link CallError} for an answer that is no success */
function refuseUnlessOk({ status, body }: Answer): void {
  if (status >= 200 && status < 300) return;
  const error = errorOf(body);
  // Somebody else was faster: what the stream shows next tells who, and when it is gone.
  const raced = error.code === "NotOurs";
  const retryable = raced || (typeof error.retryable === "boolean" ? error.retryable : status >= 500 || status === 408 || status === 429);
  const message = typeof error.message === "string" ? error.message : `the sidecar aibrix-runtime answered HTTP ${status}`;
  const reason: Reason = typeof error.code === "string" && error.code in REASONS ? (error.code as Reason) : "RuntimeUnavailable";
  throw new CallError(reason, message, { retryable });
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new CallError(
      "RuntimeUnavailable",
      `the controller cannot read the token for sidecars (--runtime-token-file=${file}: ${(error as NodeJS.ErrnoException).code}): mount the Secret; it is tried again`,
      { retryable: true, cause: error },
    );
  }
}

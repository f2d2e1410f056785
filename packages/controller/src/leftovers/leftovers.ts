import { CONTROLLER_MANAGER } from "@aibrix/api";
import { CONFIG_MAPS, type ConfigMap, Deadline, type KubeClient, KubeError, type Log, sleep } from "@aibrix/kube";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { LABEL_MANAGED_BY } from "../endpoints/names.ts";

const LeftoverSchema = Type.Object({
  /** Where the engine may have its weights from: what has other ones under this name is somebody else's. */
  roots: Type.Array(Type.String()),
  /** The adapter's own word on where engines answer. */
  port: Type.Optional(Type.String()),
  /** The engine was asked to load it and had not answered: it may come to be listed after a while. */
  loading: Type.Optional(Type.Boolean()),
});
const LeftPodSchema = Type.Object({
  /** `namespace/name`. */
  pod: Type.String(),
  names: Type.Record(Type.String(), LeftoverSchema),
});

/** What an adapter that was deleted may have left in an engine without sidecar, which did not answer in time. */
export type Leftover = Static<typeof LeftoverSchema>;
type LeftPod = Static<typeof LeftPodSchema>;

/** A pod, as far as leftovers on it go. */
export interface PodWithLeftovers {
  readonly key: string;
  readonly uid: string;
  readonly names: readonly string[];
}

export interface LeftoversOptions {
  readonly client: Pick<KubeClient, "find" | "create" | "mergePatch">;
  /** Where the ConfigMap is. */
  readonly namespace: string;
  /** The only namespace that is looked at; `undefined` for all. */
  readonly watched: string | undefined;
  readonly log: Log;
  /** Pause before it is read again, in milliseconds; a second where it is absent. */
  readonly readAgainMs?: number;
}

const CALL_TIMEOUT_MS = 5_000;
const READ_AGAIN_MS = 1_000;

/** Rights that were applied a moment ago may not count yet: so often it is tried before they are believed to be missing. */
const TRIES_WITHOUT_RIGHT = 4;

/**
 * What deletions left behind in engines without sidecar, by the pod's uid and the adapter's name. A ConfigMap holds it, for a deleted adapter has
 * no status to be read by the next process. What is not in there is never unloaded for it.
 */
export class Leftovers {
  readonly #options: LeftoversOptions;
  readonly #name: { readonly namespace: string; readonly name: string };
  readonly #pods = new Map<string, LeftPod>();
  /** When what an engine may still load is believed to be gone, in milliseconds since the epoch. */
  readonly #goneAtMs = new Map<string, number>();
  /** What earlier processes wrote down is known. Before it is, nothing is written: it would be lost. */
  #isRead = false;
  /** What was dropped before that, by pod (all of it) or by pod and name: it is not taken up any more. */
  readonly #struck = new Set<string>();
  #tellLate: ((pod: PodWithLeftovers) => void) | undefined;
  /** Writes, one after the other: each writes what is known by then. */
  #writing: Promise<void> = Promise.resolve();

  constructor(options: LeftoversOptions) {
    this.#options = options;
    this.#name = { namespace: options.namespace, name: configMapName(options.watched) };
  }

  /** Reads what earlier processes wrote down; where the API server does not say, it is asked until it does. */
  async load(signal: AbortSignal): Promise<void> {
    const { log, readAgainMs = READ_AGAIN_MS } = this.#options;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        return await bounded(signal, (within) => this.#read(within));
      } catch (error) {
        const isForbidden = error instanceof KubeError && error.status === 403;
        if (isFinal(error) && !(isForbidden && tries < TRIES_WITHOUT_RIGHT)) return this.#untold(error);
        if (!isForbidden) log.warn({ err: error }, "what earlier deletions left in engines could not be read: it is tried again");
        await sleep(readAgainMs, signal);
      }
    }
  }

  /** Has pods told of that are known only after {@link load} has given up: when a write reads first what it must not lose. */
  onLate(tell: (pod: PodWithLeftovers) => void): void {
    this.#tellLate = tell;
  }

  of(podUid: string, name: string): Leftover | undefined {
    return this.#pods.get(podUid)?.names[name];
  }

  /** Names of which something may be left on the pod. */
  namesOn(podUid: string): readonly string[] {
    return Object.keys(this.#pods.get(podUid)?.names ?? {});
  }

  has(podUid: string): boolean {
    return this.#pods.has(podUid);
  }

  pods(): PodWithLeftovers[] {
    return [...this.#pods].map(([uid, { pod, names }]) => ({ uid, key: pod, names: Object.keys(names) }));
  }

  /** When one that is not listed is believed to be gone; `undefined` before it was seen so. */
  goneAtMs(podUid: string, name: string): number | undefined {
    return this.#goneAtMs.get(`${podUid}/${name}`);
  }

  /** The engine does not list it. The first time counts. */
  seenGone(podUid: string, name: string, goneAtMs: number): void {
    const key = `${podUid}/${name}`;
    if (!this.#goneAtMs.has(key)) this.#goneAtMs.set(key, goneAtMs);
  }

  /**
   * Writes down what may be left on a pod, before nothing else tells of it any more.
   *
   * @throws KubeError where it may be taken later; one that will never be taken is logged
   */
  async keep(pod: { readonly key: string; readonly uid: string }, name: string, left: Leftover, signal: AbortSignal): Promise<void> {
    const before = this.#pods.get(pod.uid)?.names ?? {};
    const had = before[name];
    this.#pods.set(pod.uid, { pod: pod.key, names: { ...before, [name]: had === undefined ? left : both(had, left) } });
    this.#struck.delete(`${pod.uid}/${name}`);
    this.#goneAtMs.delete(`${pod.uid}/${name}`);
    try {
      await this.#write(pod.uid, signal);
    } catch (error) {
      if (!isFinal(error)) throw error;
      this.#untold(error);
    }
  }

  /** It is gone from the pod, or told elsewhere. */
  drop(podUid: string, name: string, signal: AbortSignal): void {
    const pod = this.#pods.get(podUid);
    if (pod?.names[name] === undefined) return;
    if (!this.#isRead) this.#struck.add(`${podUid}/${name}`);
    const { [name]: _, ...names } = pod.names;
    this.#goneAtMs.delete(`${podUid}/${name}`);
    if (Object.keys(names).length === 0) this.#pods.delete(podUid);
    else this.#pods.set(podUid, { ...pod, names });
    this.#tell(podUid, signal);
  }

  /** The pod is gone, and with it what was there. */
  forgetPod(podUid: string, signal: AbortSignal): void {
    for (const name of Object.keys(this.#pods.get(podUid)?.names ?? {})) this.#goneAtMs.delete(`${podUid}/${name}`);
    if (!this.#isRead) this.#struck.add(podUid);
    if (this.#pods.delete(podUid)) this.#tell(podUid, signal);
  }

  /** Takes in what earlier processes wrote down, beside what this one knows. */
  async #read(signal: AbortSignal): Promise<void> {
    const map = await this.#options.client.find(CONFIG_MAPS, this.#name, signal);
    for (const [uid, text] of Object.entries(map?.data ?? {})) if (!this.#struck.has(uid)) this.#take(uid, text);
    this.#isRead = true;
    this.#struck.clear();
    for (const pod of this.pods()) this.#tellLate?.(pod);
  }

  #take(uid: string, text: string): void {
    try {
      const said: unknown = JSON.parse(text);
      const { pod, names } = Value.Parse(LeftPodSchema, said);
      const ours = this.#pods.get(uid)?.names ?? {};
      const theirs = Object.entries(names).filter(([name]) => !this.#struck.has(`${uid}/${name}`));
      const all = Object.fromEntries(theirs.map(([name, left]) => [name, both(left, ours[name])]));
      this.#pods.set(uid, { pod, names: { ...ours, ...all } });
    } catch (error) {
      this.#options.log.warn({ err: error, pod: uid, ...this.#name }, "an entry of the ConfigMap is not ours: it is passed over");
    }
  }

  /** Less is left than is written: nothing is wrong with that, the next process sees it too. */
  #tell(uid: string, signal: AbortSignal): void {
    const { log } = this.#options;
    this.#write(uid, signal).catch((error: unknown) => log.debug({ err: error }, "what is left no more could not be struck out"));
  }

  #write(uid: string, signal: AbortSignal): Promise<void> {
    const task = this.#writing.then(() => bounded(signal, (within) => this.#patch(uid, within)));
    this.#writing = task.catch(() => undefined);
    return task;
  }

  async #patch(uid: string, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    if (!this.#isRead) await this.#read(signal);
    const pod = this.#pods.get(uid);
    const text = pod === undefined ? null : JSON.stringify(pod);
    const patch = () => client.mergePatch(CONFIG_MAPS, this.#name, { data: { [uid]: text } }, {}, signal);
    try {
      await patch();
    } catch (error) {
      if (!(error instanceof KubeError && error.notFound)) throw error;
      if (text !== null) await this.#create({ [uid]: text }, patch, signal);
    }
  }

  async #create(data: Record<string, string>, patch: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    const map: ConfigMap = { metadata: { ...this.#name, labels: { [LABEL_MANAGED_BY]: CONTROLLER_MANAGER } }, data };
    try {
      await this.#options.client.create(CONFIG_MAPS, map, {}, signal);
    } catch (error) {
      if (!(error instanceof KubeError && error.alreadyExists)) throw error;
      await patch();
    }
  }

  #untold(err: KubeError): void {
    const { namespace, name } = this.#name;
    // What is gone is struck out, so that one that is full gets room again.
    const remedy =
      err.status === 422 || err.status === 413
        ? "it has no room left for what engines that hang may still have: mend these, or replace their pods"
        : "apply the controller's RBAC (deploy/rbac) again";
    this.#options.log.warn(
      { err },
      `the ConfigMap ${namespace}/${name} cannot be used: ${remedy}; until then an adapter that an engine without sidecar kept through its deletion is forgotten when the controller is started anew`,
    );
  }
}

/** What an earlier process knew of, with what this one does: its word on all but the paths is the later one. */
function both(before: Leftover, now: Leftover | undefined): Leftover {
  return now === undefined ? before : { ...now, roots: [...new Set([...before.roots, ...now.roots])] };
}

/** Controllers that look at different namespaces have one each. */
function configMapName(watched: string | undefined): string {
  return watched === undefined ? "aibrix-direct-leftovers" : `aibrix-direct-leftovers-${watched}`;
}

/** Whether the API server will not take it either later: a right that is missing holds up neither the start nor a deletion. */
function isFinal(error: unknown): error is KubeError {
  return error instanceof KubeError && (!error.retryable || error.status === 403);
}

async function bounded<T>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  using deadline = new Deadline(signal).set(CALL_TIMEOUT_MS, "the API server did not answer in time");
  return await run(deadline.signal);
}

import { Deadline, type KubeClient, KubeError, keyOf, type Log, PODS, type Pod, type Store, sleep, splitKey } from "@aibrix/kube";
import { trimPod } from "./trim.ts";

export interface LeftOptions {
  readonly client: Pick<KubeClient, "find">;
  /** Where pods are kept that left and live on. */
  readonly store: Store<Pod>;
  /** Whether any adapter has to do with a pod still. */
  readonly holds: (pod: Pod) => boolean;
  /** Called when it is known what became of a pod, and when it is over: `alive` says which. */
  readonly onKnown: (pod: Pod, alive: boolean) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const READ_TIMEOUT_MS = 5_000;
/** Adapters wait for this after a restart, so it ends. */
const LOOK_TRIES = 10;
const LOOK_PAUSE_MS = 1_000;
/** How often a pod that is not watched is looked at, in milliseconds. */
const PERIOD_MS = 10_000;

/**
 * Pods that left the watch although they live on, for somebody took their label `model.aibrix.ai/name` away. The watch tells of them as deleted.
 * They are read by name until they are gone, come back, or hold nothing of ours any more.
 */
export class LeftPods {
  readonly #options: LeftOptions;

  constructor(options: LeftOptions) {
    this.#options = options;
  }

  /** Takes over a pod that the watch says is deleted. Until it is known what became of it, it counts as it was. */
  left(pod: Pod): void {
    const { store, log } = this.#options;
    store.set(pod);
    this.#follow(pod).catch((error: unknown) =>
      log.error({ pod: keyOf(pod), err: error }, "a pod that left the watch could not be followed"),
    );
  }

  /**
   * Asks for a pod that the status of an adapter names and the watch never had: it may have left before this process came. Where it lives on
   * it is taken over; where the API server does not say, nothing is known, as of a pod that is gone.
   *
   * @returns whether the API server said
   */
  async look({ namespace, name, uid }: { readonly namespace: string; readonly name: string; readonly uid: string }): Promise<boolean> {
    const { store, signal } = this.#options;
    const key = `${namespace}/${name}`;
    for (let tries = LOOK_TRIES; tries > 0 && !signal.aborted; tries -= 1) {
      const now = await this.#read(key);
      if (now !== "unknown") {
        const alive = now?.metadata.uid === uid && now.metadata.deletionTimestamp === undefined;
        if (now !== undefined && alive && store.get(key) === undefined) this.left(trimPod(now));
        return true;
      }
      await sleep(LOOK_PAUSE_MS, signal);
    }
    return false;
  }

  /** The watch has the name again. Gives the pod that had left, if one had; another one now may have its name. */
  back(key: string): Pod | undefined {
    const pod = this.#options.store.get(key);
    this.#options.store.delete(key);
    return pod;
  }

  async #follow(pod: Pod): Promise<void> {
    const { store, holds, onKnown, signal } = this.#options;
    const key = keyOf(pod);
    for (let known = false; !signal.aborted; await sleep(PERIOD_MS, signal)) {
      const now = await this.#read(key);
      // The watch has it, or another of its name.
      if (signal.aborted || store.get(key)?.metadata.uid !== pod.metadata.uid) return;
      if (now === "unknown") continue;
      const alive = now?.metadata.uid === pod.metadata.uid && now?.metadata.deletionTimestamp === undefined;
      if (now === undefined || !alive || (known && !holds(now))) {
        store.delete(key);
        return onKnown(pod, false);
      }
      store.set(trimPod(now));
      if (!known) onKnown(now, true);
      known = true;
    }
  }

  async #read(key: string): Promise<Pod | undefined | "unknown"> {
    const { client, signal, log } = this.#options;
    try {
      using deadline = new Deadline(signal).set(READ_TIMEOUT_MS, "no answer in time");
      return await client.find(PODS, splitKey(key), deadline.signal);
    } catch (error) {
      if (!(error instanceof KubeError && error.status === 403)) return "unknown";
      log.warn(
        { pod: key },
        "the controller may not read pods by name: apply its RBAC (deploy/rbac) again; what the pod has is left there",
      );
      return undefined;
    }
  }
}

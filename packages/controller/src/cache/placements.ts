/** Which adapters are placed on which pods, of all adapters at once: the choice for one counts the others before anything is written. */
export class Placements {
  readonly #podsOf = new Map<string, readonly string[]>();
  readonly #adaptersOn = new Map<string, Set<string>>();

  /** Keys of the pods that an adapter is on; `undefined` where nothing was placed or remembered yet. */
  podsOf(adapter: string): readonly string[] | undefined {
    return this.#podsOf.get(adapter);
  }

  /** Keys of the adapters that are on a pod. */
  adaptersOn(pod: string): Iterable<string> {
    return this.#adaptersOn.get(pod) ?? [];
  }

  /** How many other adapters are on a pod. */
  load(pod: string, adapter: string): number {
    const on = this.#adaptersOn.get(pod);
    return on === undefined ? 0 : on.size - (on.has(adapter) ? 1 : 0);
  }

  set(adapter: string, pods: readonly string[]): void {
    for (const pod of this.#podsOf.get(adapter) ?? []) {
      const on = this.#adaptersOn.get(pod);
      on?.delete(adapter);
      if (on?.size === 0) this.#adaptersOn.delete(pod);
    }
    this.#podsOf.set(adapter, pods);
    for (const pod of pods) {
      const on = this.#adaptersOn.get(pod);
      if (on === undefined) this.#adaptersOn.set(pod, new Set([adapter]));
      else on.add(adapter);
    }
  }

  delete(adapter: string): void {
    this.set(adapter, []);
    this.#podsOf.delete(adapter);
  }
}

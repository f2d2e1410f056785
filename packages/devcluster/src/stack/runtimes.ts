import type { WatchEvent } from "@aibrix/api";
import { applyEvent, type Change, changes, PROBLEM, type RuntimeView, shortManifest, withShownProblems } from "./runtime-view.ts";
import { followRuntime } from "./runtime-watch.ts";

/** What all runtimes of the stack say, kept current by their watches. */
export class Runtimes {
  readonly #views = new Map<string, RuntimeView>();
  /** What `onChange` was told of them. */
  readonly #told = new Map<string, RuntimeView>();
  readonly #onChange: (engine: string, change: Change) => void;
  #wake = Promise.withResolvers<void>();

  /** @param onChange - called for each change that a user would want to read */
  constructor(onChange: (engine: string, change: Change) => void) {
    this.#onChange = onChange;
  }

  /** Follows the runtime of an engine until the signal aborts. Never rejects. */
  follow(engine: string, url: string, signal: AbortSignal): Promise<void> {
    this.#views.set(engine, undefined);
    return followRuntime(url, (event) => this.#take(engine, event), signal);
  }

  /** By engine; `undefined` where its runtime has not spoken yet. */
  get views(): ReadonlyMap<string, RuntimeView> {
    return this.#views;
  }

  /** Waits until what the runtimes say fulfils a condition; `false` where the signal aborts first. */
  async until(condition: (views: ReadonlyMap<string, RuntimeView>) => boolean, signal: AbortSignal): Promise<boolean> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        if (condition(this.#views)) return true;
        await Promise.race([this.#wake.promise, aborted.promise]);
      }
      return false;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #take(engine: string, event: WatchEvent): void {
    const before = this.#views.get(engine);
    const after = applyEvent(before, event);
    if (after === before) return;
    this.#views.set(engine, after);
    // What one engine says can make a problem of what another one has said before.
    for (const [name, shown] of withShownProblems(this.#views, "awaited")) this.#tell(name, shown);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  #tell(engine: string, shown: RuntimeView): void {
    const before = this.#told.get(engine);
    this.#told.set(engine, shown);
    for (const change of changes(before, shown)) if (!this.#toldByAnother(engine, change)) this.#onChange(engine, change);
  }

  /** All runtimes read the same folder: a manifest's problem is told once. */
  #toldByAnother(engine: string, { subject, state, detail }: Change): boolean {
    if (state !== PROBLEM) return false;
    const others = [...this.#told].filter(([name]) => name !== engine).flatMap(([, view]) => view?.manifest_problems ?? []);
    return others.some((p) => shortManifest(p) === subject && p.message === detail);
  }
}

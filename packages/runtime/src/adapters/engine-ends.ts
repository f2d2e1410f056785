import type { EngineView } from "../engine/observer.ts";
import { AdapterError, messageOf, networkCode } from "../errors.ts";
import type { Adapter } from "./adapter.ts";

/** An engine that ends so often while it takes in new content ends on account of that. */
export const ENGINE_ENDS = 2;

/** The engine ends by a content: another process of it would fare no better. */
export class EndsEngine extends AdapterError {}

/** A call that failed while the engine was given content that may have ended it. */
export class WhileGiven extends Error {
  override readonly name = "WhileGiven";
  /** What the engine did meanwhile, for people. */
  readonly doing: string;
  /** The engine as it was. */
  readonly before: EngineView;

  constructor(cause: unknown, doing: string, before: EngineView) {
    super(messageOf(cause), { cause });
    this.doing = doing;
    this.before = before;
  }
}

/**
 * Watches what engines are given that may end them. Only what runs alone can be blamed: of two things at a time nobody knows which one it was.
 */
export class Suspects {
  readonly #running = new Set<{ alone: boolean }>();

  /** Runs `work`, which asks by `isAlone` whether nothing else was watched at any time since it began. */
  async watch<T>(work: (isAlone: () => boolean) => Promise<T>): Promise<T> {
    const me = { alone: this.#running.size === 0 };
    for (const other of this.#running) other.alone = false;
    this.#running.add(me);
    try {
      return await work(() => me.alone);
    } finally {
      this.#running.delete(me);
    }
  }
}

/**
 * Whether the engine ended in the middle of a call. One that was gone before it took the call, or another process that refused it, did not.
 *
 * @param after - a look at the engine after the call
 */
export function endedDuring(error: unknown, before: EngineView, after: EngineView): boolean {
  const code = networkCode(error);
  if (code === "ECONNREFUSED") return false;
  return !after.ready || (code !== undefined && after.bootId !== before.bootId);
}

/** Whether content has served under its name here: then an end of the engine says nothing about it. */
export function hasServed(a: Adapter, path: string): boolean {
  const probed = a.probed.get(path);
  if (probed === "pending") return false;
  return a.lastServedPath === path || a.fallback?.path === path || probed === "served" || probed === "notNeeded";
}

/** Notes that the engine ended while it was given new content. @returns what to tell of it, {@link EndsEngine} once it was so often enough */
export function noteEnd(a: Adapter, path: string, { doing, cause, message }: WhileGiven): AdapterError {
  const times = (a.engineEnds?.path === path ? a.engineEnds.times : 0) + 1;
  a.engineEnds = { path, times };
  if (times < ENGINE_ENDS)
    return new AdapterError(
      "EngineUnavailable",
      `the engine ended while ${doing} new content (${message}): it is tried once more when it is back`,
      { cause },
    );
  return new EndsEngine(
    "EngineRefused",
    `the engine ended ${times} times while ${doing} this content, and does not get it again: look into the log of its run before (kubectl logs --previous), and declare other content`,
    { cause },
  );
}

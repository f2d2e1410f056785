import { readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isMissing, type Layout, POD_FOLDER, removeWhole } from "./layout.ts";

/** File whose time a living pod renews. */
const ALIVE_FILE = ".alive";
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What is known of another pod. */
export interface PodSeen {
  /** Age of its last sign of life by the clocks of two pods; negative where that lies ahead. */
  readonly ageMs: number;
  /** For how long this process has seen no new one, by its own monotonic clock. */
  readonly silentMs: number;
}

/**
 * Whether a pod is gone for good. A sidecar that crashes again and again is not: its engine may be reading. Nor does a clock that is set
 * anew decide it: what is a day old has also been watched for an hour, and what has been watched for a day needs no clock. Pure.
 */
export function isGone({ ageMs, silentMs }: PodSeen): boolean {
  return silentMs >= DAY_MS || (ageMs >= DAY_MS && silentMs >= HOUR_MS);
}

/** Folders of the pods that share a volume. */
export class Pods {
  readonly #layout: Layout;
  readonly #now: () => number;
  readonly #clock: () => number;
  readonly #seen = new Map<string, { readonly mtimeMs: number; readonly sinceMs: number }>();

  /** @param clock - monotonic, in milliseconds */
  constructor(layout: Layout, now: () => number, clock: () => number) {
    this.#layout = layout;
    this.#now = now;
    this.#clock = clock;
  }

  /** Shows the others that this pod lives. */
  async beat(): Promise<void> {
    if (this.#layout.pod === "") return;
    const path = join(this.#layout.own, ALIVE_FILE);
    const now = new Date(this.#now());
    await utimes(path, now, now).catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      await writeFile(path, "");
    });
  }

  /** Removes the folders of pods that are gone for good. @returns their names */
  async sweep(): Promise<readonly string[]> {
    if (this.#layout.pod === "") return [];
    const gone: string[] = [];
    for (const pod of await readdir(this.#layout.pods)) {
      if (pod === this.#layout.pod || !POD_FOLDER.test(pod)) continue;
      const mtimeMs = (await stat(join(this.#layout.pods, pod, ALIVE_FILE)).catch(() => undefined))?.mtimeMs;
      if (mtimeMs === undefined) continue; // No folder of ours.
      if (this.#seen.get(pod)?.mtimeMs !== mtimeMs) this.#seen.set(pod, { mtimeMs, sinceMs: this.#clock() });
      const silentMs = this.#clock() - (this.#seen.get(pod)?.sinceMs ?? 0);
      if (!isGone({ ageMs: this.#now() - mtimeMs, silentMs })) continue;
      if (await removeWhole(this.#layout, join(this.#layout.pods, pod))) gone.push(pod);
      this.#seen.delete(pod);
    }
    return gone;
  }
}

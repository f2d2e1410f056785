import { statfs } from "node:fs/promises";
import { AdapterError } from "../../errors.ts";

/** What stays free on the volume, in bytes: others write there too. */
export const RESERVE_BYTES: number = 64 * 2 ** 20;

/** Looks before a download starts whether it has room, with what the running ones will still write. */
export class Room {
  readonly #running = new Map<symbol, { readonly dir: string; readonly missingBytes: () => number }>();

  /**
   * Takes room for a download into a folder.
   *
   * @param missingBytes - what it still has to write, now and later
   * @returns gives the room back
   * @throws AdapterError `StorageFull`, with the figures
   */
  async take(dir: string, missingBytes: () => number): Promise<() => void> {
    const id = Symbol(dir);
    this.#running.set(id, { dir, missingBytes });
    try {
      const { bavail, bsize } = await statfs(dir);
      let promised = 0;
      for (const [other, running] of this.#running) if (other !== id && running.dir === dir) promised += running.missingBytes();
      const problem = lackOfRoom({ missingBytes: missingBytes(), promisedBytes: promised, freeBytes: bavail * bsize });
      if (problem !== undefined) throw new AdapterError("StorageFull", problem);
    } catch (error) {
      this.#running.delete(id);
      throw error;
    }
    return () => this.#running.delete(id);
  }
}

/** Why a download has no room, or `undefined` where it has. Pure. */
export function lackOfRoom(room: {
  readonly missingBytes: number;
  readonly promisedBytes: number;
  readonly freeBytes: number;
}): string | undefined {
  const { missingBytes, promisedBytes, freeBytes } = room;
  if (missingBytes + promisedBytes + RESERVE_BYTES <= freeBytes || missingBytes === 0) return undefined;
  const others = promisedBytes === 0 ? "" : `, ${mib(promisedBytes)} are for downloads that run`;
  return `the download needs ${mib(missingBytes)} more, and the volume of --artifacts-dir has ${mib(freeBytes)} free (${mib(RESERVE_BYTES)} stay free${others}): enlarge it or free some; it is tried again`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

import { stat, statfs } from "node:fs/promises";
import pLimit from "p-limit";
import { AdapterError } from "../../errors.ts";

/** What stays free on the volume, in bytes: others write there too. */
export const RESERVE_BYTES: number = 64 * 2 ** 20;

/** A download has no room, and was not begun: what an earlier try brought is still of use. */
export class NoRoom extends AdapterError {
  constructor(message: string) {
    super("StorageFull", message);
  }
}

/** What a download needs room for. */
export interface RoomFor {
  /** A folder of the volume that it is written to. */
  readonly dir: string;
  /** What it still has to write, now and at any later time. */
  readonly missingBytes: () => number;
  /** Frees room for so many bytes, as far as that is possible. */
  readonly makeRoom?: ((neededBytes: number) => Promise<void>) | undefined;
}

/** Looks before a download starts whether its volume has room, with what the running ones will still write there. */
export class Room {
  readonly #running = new Map<symbol, { readonly volume: number; readonly missingBytes: () => number }>();
  /** Of two that ask at once, the second one knows of the first. */
  readonly #one = pLimit(1);

  /**
   * Takes room for a download.
   *
   * @returns gives the room back
   * @throws AdapterError `StorageFull`, with the figures
   */
  async take({ dir, missingBytes, makeRoom }: RoomFor): Promise<() => void> {
    return await this.#one(async () => {
      const { dev: volume } = await stat(dir);
      const missing = missingBytes();
      if (missing > 0) {
        await makeRoom?.(missing + this.#promisedBytes(volume));
        const freeBytes = await freeBytesAt(dir);
        // Asked anew: what came meanwhile is no longer free.
        const problem = lackOfRoom({ missingBytes: missing, promisedBytes: this.#promisedBytes(volume), freeBytes });
        if (problem !== undefined) throw new NoRoom(problem);
      }
      const id = Symbol(dir);
      this.#running.set(id, { volume, missingBytes });
      return () => this.#running.delete(id);
    });
  }

  #promisedBytes(volume: number): number {
    return [...this.#running.values()].reduce((sum, r) => sum + (r.volume === volume ? r.missingBytes() : 0), 0);
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
  return `the download needs ${mib(missingBytes)} more, and the volume that it goes to has ${mib(freeBytes)} free (${mib(RESERVE_BYTES)} stay free${others}): enlarge it or free some; it is tried again`;
}

/** The bytes that are free for us on the volume of a folder. */
export async function freeBytesAt(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

import { AdapterError } from "../../errors.ts";
import { freeBytesAt, mib, RESERVE_BYTES } from "../transfer/room.ts";

/** Bytes between two looks at the volume: well below the reserve. */
const LOOK_EVERY_BYTES = 8 * 2 ** 20;

/** The volume has no room for what an archive unpacks to. The archive itself is here, whole: the next try need not fetch it. */
export class NoRoomToUnpack extends AdapterError {
  constructor(message: string, cause?: unknown) {
    super("StorageFull", message, { cause });
  }
}

/** Looks at the free space of a volume while an archive is unpacked, for nobody knows before how much that will be. */
export class Headroom {
  readonly #folder: string;
  readonly #free: (folder: string) => Promise<number>;
  #written = 0;
  #nextLook = 0;

  /** @param free - tells the free bytes on a folder's volume */
  constructor(folder: string, free: (folder: string) => Promise<number> = freeBytesAt) {
    this.#folder = folder;
    this.#free = free;
  }

  /**
   * Counts bytes that are about to be written.
   *
   * @throws NoRoomToUnpack before the reserve is touched
   */
  async take(bytes: number): Promise<void> {
    this.#written += bytes;
    if (this.#written < this.#nextLook) return;
    const free = await this.#free(this.#folder);
    if (free < RESERVE_BYTES + LOOK_EVERY_BYTES)
      throw new NoRoomToUnpack(
        `the archive is here, and unpacks to more than ${mib(this.#written)}, and the volume of --artifacts-dir has ${mib(free)} free (${mib(RESERVE_BYTES)} stay free): enlarge it or free some; it is tried again`,
      );
    this.#nextLook = this.#written + LOOK_EVERY_BYTES;
  }
}

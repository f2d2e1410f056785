import { deadline } from "@aibrix/service";
import pLimit from "p-limit";
import type { Egress } from "../../egress/egress.ts";
import { AdapterError } from "../../errors.ts";
import type { Listing, Source } from "../sources/source.ts";
import type { PartialFolder } from "../store/partial.ts";
import { type Downloaded, downloadFile } from "./download.ts";
import { Hasher } from "./hasher.ts";
import { Journal, machineBootId } from "./journal.ts";
import { Meter, type Progress } from "./meter.ts";
import { RateLimit } from "./rate-limit.ts";
import { timeoutError } from "./retry.ts";
import { Room } from "./room.ts";
import { spanBytes } from "./spans.ts";

/** Files, and requests, of one artifact at once where nothing else is said. Of several artifacts none waits for another's. */
const CONNECTIONS = 8;

export interface TransferSettings {
  /** For one artifact, in milliseconds; what has arrived by then is kept. */
  readonly timeoutMs: number;
  /** Over all downloads together; `Infinity` limits nothing. */
  readonly bytesPerSecond: number;
  /** Files, and requests, of one artifact at once. @defaultValue 8 */
  readonly connections?: number;
}

/** No limits but those of the caller's signal. */
export const UNLIMITED: TransferSettings = { timeoutMs: 7 * 24 * 3_600_000, bytesPerSecond: Number.POSITIVE_INFINITY };

/** What one download is of, and where it goes. */
export interface TransferOf {
  /** For messages. */
  readonly url: string;
  readonly source: Source;
  readonly listing: Listing;
  /** Hash over what the source said of the files. */
  readonly fingerprint: string;
  readonly folder: Pick<PartialFolder, "files" | "notes">;
  /** Frees room on the folder's volume for so many bytes, as far as that is possible. */
  readonly makeRoom?: (neededBytes: number) => Promise<void>;
}

/** Fetches artifacts' files. What all downloads of the process share is here. */
export class Transfers {
  readonly #settings: TransferSettings;
  readonly #rate: RateLimit;
  readonly #hasher = new Hasher();
  readonly #flush = pLimit(1);
  readonly #room = new Room();
  readonly #memory: Pick<Egress, "recycle">;
  readonly #onReceived: (bytes: number) => void;

  /**
   * @param memory - takes back that of a chunk that is in its file
   * @param onReceived - called with the bytes of each chunk that came
   */
  constructor(settings: TransferSettings, memory: Pick<Egress, "recycle">, onReceived: (bytes: number) => void = () => undefined) {
    this.#settings = settings;
    this.#rate = new RateLimit(settings.bytesPerSecond);
    this.#memory = memory;
    this.#onReceived = onReceived;
  }

  async close(): Promise<void> {
    await this.#hasher.close();
  }

  /**
   * Brings every file of a listing into the folder, going on from what an earlier try left there.
   *
   * @throws AdapterError; what has arrived stays in the folder
   */
  async fetch(of: TransferOf, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<readonly Downloaded[]> {
    const { timeoutMs } = this.#settings;
    const limit = deadline(timeoutMs, signal);
    try {
      return await this.#fetch(of, onProgress, limit);
    } catch (error) {
      if (!limit.aborted || signal.aborted) throw error;
      const message = `${of.url} was not here within ${Math.round(timeoutMs / 1000)} s (--download-timeout); it is gone on with at the next try`;
      throw new AdapterError("ArtifactUnavailable", message, { cause: timeoutError() });
    }
  }

  async #fetch(of: TransferOf, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<readonly Downloaded[]> {
    const { source, listing, fingerprint, folder, makeRoom } = of;
    const connections = Math.min(this.#settings.connections ?? CONNECTIONS, source.connections ?? Number.POSITIVE_INFINITY);
    const { files } = listing;
    const totalBytes = files.reduce((sum, f) => sum + f.sizeBytes, 0);
    const journal = await Journal.open(folder.notes, { fingerprint, bootId: await machineBootId() });
    const meter = new Meter(totalBytes);
    // The meter knows of files that were opened only, the journal of what it was told.
    const here = () =>
      Math.max(
        meter.progress.bytes,
        files.reduce((sum, f) => sum + spanBytes(journal.done(f.name)), 0),
      );
    // An archive and what is in it are here together for a while; weights hardly shrink.
    const neededBytes = listing.archive === undefined ? totalBytes : 2 * totalBytes;
    const giveBack = await this.#room.take({ dir: folder.files, missingBytes: () => neededBytes - here(), makeRoom });
    const download = {
      source,
      listing,
      dir: folder.files,
      journal,
      meter,
      onReceived: (bytes: number) => {
        this.#onReceived(bytes);
        onProgress(meter.progress);
      },
      recycle: (chunk: Buffer) => this.#memory.recycle(chunk),
      connections: pLimit(connections),
      rate: this.#rate,
      hasher: this.#hasher,
      flush: this.#flush,
    };
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    const parallel = pLimit(connections);
    onProgress(meter.progress);
    try {
      // The first file that fails ends the others.
      const settled = await Promise.allSettled(
        files.map((file) =>
          parallel(async () => {
            try {
              both.throwIfAborted();
              return await downloadFile(download, file, both);
            } catch (error) {
              failed.abort(error);
              throw error;
            }
          }),
        ),
      );
      signal.throwIfAborted();
      failed.signal.throwIfAborted();
      return settled.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    } finally {
      giveBack();
    }
  }
}

import { AdapterError } from "../../errors.ts";

/** Bounds on what an archive may hold: far beyond any adapter, and within what a volume survives. */
export const MAX_ENTRIES = 1_000;
export const MAX_TOTAL_BYTES = 64 * 1024 ** 3;
/** Weights hardly shrink; an archive that grows by more is made to fill a disk. Small ones may: a fresh adapter is half zeros. */
export const MAX_RATIO = 100;
const RATIO_FREE_BYTES = 64 * 1024 ** 2;
const MAX_NAME_BYTES = 1024;

/** One file of an archive, as it was unpacked. */
export interface Unpacked {
  /** Name in the archive: plain segments between single slashes. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Where its bytes are: under a name of ours, so that no name of the archive ever is a path here. */
  readonly path: string;
}

/** Most bytes that an archive may unpack to. */
export function maxUnpackedBytes(archiveBytes: number): number {
  return Math.min(MAX_TOTAL_BYTES, Math.max(RATIO_FREE_BYTES, archiveBytes * MAX_RATIO));
}

/**
 * Reads the name of an entry.
 *
 * @returns its plain form; empty for the archive's own folder (`./`)
 * @throws AdapterError `ArtifactInvalid` for a name that could leave the folder, or that no file here can have
 */
export function plainName(name: string): string {
  if (/^[/\\]|^[A-Za-z]:[/\\]/.test(name)) throw refused(name, "its name is absolute");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (name.includes("\\") || /[\x00-\x1f\x7f]/.test(name) || !name.isWellFormed())
    throw refused(name, "its name has characters that no file should have");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw refused(name, `its name is longer than ${MAX_NAME_BYTES} bytes`);
  const segments = name.split("/").filter((s) => s !== "" && s !== ".");
  if (segments.includes("..")) throw refused(name, "its name leaves the folder");
  return segments.join("/");
}

/** What archivers of macOS add to every archive. */
export function isBycatch(name: string): boolean {
  const segments = name.split("/");
  return segments[0] === "__MACOSX" || segments.some((s) => s.startsWith("._") || s === ".DS_Store");
}

/** The files without the one folder that all of them are in, where there is one. */
export function withoutTopFolder(files: readonly Unpacked[]): readonly Unpacked[] {
  const top = files[0]?.name.split("/")[0] ?? "";
  if (!files.every((f) => f.name.startsWith(`${top}/`))) return files;
  return files.map((f) => ({ ...f, name: f.name.slice(top.length + 1) }));
}

/** Keeps count of what an archive holds while it is unpacked. */
export class Bounds {
  readonly #maxBytes: number;
  readonly #names = new Set<string>();
  #entries = 0;
  #bytes = 0;
  #written = 0;

  constructor(archiveBytes: number) {
    this.#maxBytes = maxUnpackedBytes(archiveBytes);
  }

  /** @throws AdapterError `ArtifactInvalid` for one entry too many */
  entry(): void {
    this.#entries += 1;
    if (this.#entries > MAX_ENTRIES) throw invalid(`it has more than ${MAX_ENTRIES} entries`);
  }

  /** @throws AdapterError `ArtifactInvalid` for a name that was there before */
  name(name: string): void {
    if (this.#names.has(name)) throw refused(name, "its name is there twice");
    this.#names.add(name);
  }

  /** @throws AdapterError `ArtifactInvalid` for a byte too many */
  bytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.#maxBytes) throw this.#tooMuch();
  }

  /** Counts what is written by itself: whatever a library makes of the bytes that were counted before, no more comes onto the disk. */
  written(count: number): void {
    this.#written += count;
    if (this.#written > this.#maxBytes) throw this.#tooMuch();
  }

  #tooMuch(): AdapterError {
    return invalid(
      `it unpacks to more than ${this.#maxBytes} bytes, the most for an archive of its size (${MAX_RATIO} times, at least 64 MiB)`,
    );
  }
}

/** An archive that is refused whole, for one of its entries. */
export function refused(name: string, why: string): AdapterError {
  return invalid(`the entry ${JSON.stringify(name.slice(0, 200))} is refused, ${why}`);
}

export function invalid(detail: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `the archive cannot be unpacked: ${detail}; pack the adapter's files again, as plain files`);
}

import type { Readable } from "node:stream";
import type { ArchiveKind } from "@aibrix/api";
import { AdapterError } from "../../errors.ts";

/** One file of an artifact, as its source describes it. */
export interface RemoteFile {
  /** Path inside the artifact; without a slash but where folders were asked for: an adapter is one flat folder. */
  readonly name: string;
  readonly sizeBytes: number;
  /** What the source says that the content hashes to, in hex. */
  readonly sha256?: string;
  /** The same by MD5, where the source states no better. Against accidents only. */
  readonly md5?: string;
  /** Changes with the content; empty where the source gives none. */
  readonly etag: string;
  /** Which of the versions that its bucket keeps, where it is a former one. */
  readonly version?: string;
  /** Nothing would show that two of its parts are of two contents: it comes in one answer or not at all. */
  readonly asWhole?: boolean;
  /** What else the source says of the content. */
  readonly digests?: readonly StatedDigest[];
}

/** `git-sha1`: as git names a blob, the sha1 over `blob SIZE\0` and the content. The sums are those of S3, in 8 or 16 hex digits. */
export type DigestAlgorithm = "crc32" | "crc32c" | "crc64nvme" | "git-sha1" | "md5" | "sha1" | "sha256";

/** A hash that a source states of a whole file. */
export interface StatedDigest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;
}

/** A file is no longer what the listing said: only a new listing helps. */
export class SourceChanged extends AdapterError {
  constructor(message: string) {
    super("ArtifactUnavailable", message);
  }
}

/** The source gives files as a whole only. */
export class NoRanges extends AdapterError {
  constructor(message: string) {
    super("ArtifactUnavailable", message, { retryable: false });
  }
}

/** Pages of a listing that are read, of 1,000 entries each: an adapter has a dozen, and more is some other place. */
export const MAX_PAGES = 20;

/** The listing of a place goes on after {@link MAX_PAGES}. Without the rest nobody knows what the adapter is. */
export function tooLong(what: string, found: { readonly entries: number; readonly files: number }): AdapterError {
  return new AdapterError(
    "ArtifactInvalid",
    `${what} holds more than ${found.entries} entries (${found.files} files at its top so far), which is no folder of one adapter or model: write the URL of the folder that its adapter_config.json, or its config.json, is in`,
  );
}

/** A part of a file, in bytes: from `start` up to, but without, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface Listing {
  /** What a moving reference was resolved to, a commit for example. */
  readonly revision?: string;
  readonly files: readonly RemoteFile[];
  /** Where the one file of the listing is an archive: the artifact is what it unpacks to. */
  readonly archive?: ArchiveKind;
}

/**
 * Where an artifact is fetched from. Both calls throw `AdapterError` with an Artifact reason; the caller retries what is retryable.
 * A new kind of storage is one more implementation of this, chosen in `open.ts`.
 */
export interface Source {
  /** Every file at the top of the artifact; those in its folders too where the source was opened with `nested`. */
  list(signal: AbortSignal): Promise<Listing>;
  /**
   * The content of one file of the listing, exactly the one that was listed, or a part of it. A source that cannot give parts throws
   * {@link NoRanges}, and one whose file is not the listed one any more {@link SourceChanged}: never other bytes than asked for.
   */
  read(listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
  /** The same files of its listing, with the hashes that take one more question each: asked for those only that count. */
  describe?(files: readonly RemoteFile[], signal: AbortSignal): Promise<readonly RemoteFile[]>;
  /** What the source states of a file's content beyond its listing, where that takes another question. Empty where it states nothing. */
  digests?(file: RemoteFile, signal: AbortSignal): Promise<readonly StatedDigest[]>;
  /**
   * Every version of the files that {@link list} lists, former ones and those of removed files too, where the storage can keep them: a
   * bucket with versions. As many as {@link MAX_PAGES} hold.
   */
  versions?(signal: AbortSignal): Promise<readonly RemoteFile[]>;
  /** Most requests of one download that it answers at once, where it says so. */
  readonly connections?: number;
  /** Frees connections of its own. */
  close?(): void;
}

/** Credentials of one adapter, by the names in `SECRET_KEYS`. Never logged. */
export type Credentials = Readonly<Record<string, string>>;

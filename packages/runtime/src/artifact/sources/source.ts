import type { Readable } from "node:stream";
import type { ArchiveKind } from "@aibrix/api";

/** One file of an artifact, as its source describes it. */
export interface RemoteFile {
  /** Name inside the artifact, without a slash: an adapter is one flat folder. */
  readonly name: string;
  readonly sizeBytes: number;
  /** What the source says that the content hashes to, in hex. */
  readonly sha256?: string;
  /** The same by MD5, where the source states no better. Against accidents only. */
  readonly md5?: string;
  /** Changes with the content; empty where the source gives none. */
  readonly etag: string;
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
  /** Every file at the top of the artifact. */
  list(signal: AbortSignal): Promise<Listing>;
  /**
   * The content of one file of the listing, exactly the one that was listed, or a part of it. A source that cannot give parts answers with
   * `ArtifactUnavailable`, never with other bytes than asked for.
   */
  read(listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
  /** Frees connections of its own. */
  close?(): void;
}

/** Credentials of one adapter, by the names in `SECRET_KEYS`. Never logged. */
export type Credentials = Readonly<Record<string, string>>;

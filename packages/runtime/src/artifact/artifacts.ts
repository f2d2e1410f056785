import { createHash } from "node:crypto";
import { type ArtifactSource, type ContentRef, parseArtifactUrl } from "@aibrix/api";
import { deadline } from "@aibrix/service";
import type { Egress } from "../egress/egress.ts";
import { AdapterError, NoLongerWanted } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { NoRoomToUnpack } from "./archive/headroom.ts";
import { unpacked } from "./archive/unpack.ts";
import { type AdapterFacts, inspectFolder } from "./check/adapter.ts";
import { selectFiles } from "./check/select.ts";
import { contentFingerprint, place, sourceFingerprint } from "./fingerprint.ts";
import { checkDecided, checkPin } from "./pin.ts";
import { filesAt, filesRevision, isFilesRevision } from "./revision.ts";
import { knownKeys } from "./sources/credentials.ts";
import { openSource } from "./sources/open.ts";
import { hashFiles, listFolder } from "./sources/path.ts";
import type { Peers } from "./sources/peer.ts";
import { type Credentials, type Listing, NoRanges, type RemoteFile, type Source, SourceChanged } from "./sources/source.ts";
import type { PartialFolder } from "./store/partial.ts";
import { type ArtifactStore, contentDigest, type StoredContent } from "./store/store.ts";
import type { Downloaded } from "./transfer/download.ts";
import { Flights } from "./transfer/flights.ts";
import type { Progress } from "./transfer/meter.ts";
import { retried, timeoutError } from "./transfer/retry.ts";
import { NoRoom } from "./transfer/room.ts";
import { storageError } from "./transfer/storage-error.ts";
import type { Transfers } from "./transfer/transfers.ts";

/** An adapter's files, checked, in a folder that an engine can be given. */
export interface Content {
  /** As the engine is given it. */
  readonly path: string;
  /** The same folder as this container sees it, where that is another path. */
  readonly local?: string;
  /** `sha256:` over the files that count; empty where the engine reads them itself and nothing is known of them. */
  readonly digest: string;
  readonly revision?: string;
  /** What the files of a folder that is read in place looked like when they were checked; content of the store never changes. */
  readonly stamp?: string;
}

/** How an adapter's files get to the engine, where it is not as the runtime was started. */
export type Delivery =
  /** Kept under `runtimeDir` here, which the engine sees as `engineDir`. */
  | { readonly mode: "volume"; readonly runtimeDir: string; readonly engineDir: string }
  /** The engine reads them itself. */
  | { readonly mode: "engine" };

export interface Wanted {
  readonly name: string;
  readonly url: string;
  readonly credentials: Credentials;
  /** Hosts that the credentials may go to, where their Secret names some. */
  readonly credentialsHosts?: readonly string[] | undefined;
  /** Take what was fetched before for this URL, without asking the source: after a restart, nothing was asked to change. */
  readonly preferLocal: boolean;
  /** The source has to give these credentials at least one byte, also of content that is here. */
  readonly prove?: boolean | undefined;
  /** Exactly this content, of all that the URL may lead to in time. */
  readonly content?: ContentRef | undefined;
  /** Sidecars of other pods that have that content, by now: a later call may name others while the source is asked. */
  readonly peers?: (() => readonly string[]) | undefined;
  readonly delivery?: Delivery | undefined;
}

/** Brings artifacts here, whole and checked. What the runtime knows of storage is behind this. */
export interface Artifacts {
  /**
   * @param signal - where it aborts with a {@link NoLongerWanted}, what has arrived is removed; else it is kept for the next try
   * @throws AdapterError
   */
  obtain(wanted: Wanted, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Content>;
  /** Whether the files of a content are still there, and those that were checked. */
  isComplete(name: string, content: Content): Promise<boolean>;
  /**
   * What is in a content's files now; `undefined` where the engine reads them itself.
   *
   * @throws AdapterError where they are no adapter, or cannot be read
   */
  inspect(content: Content, signal: AbortSignal): Promise<AdapterFacts | undefined>;
  /** Notes that a content is used now: what was used least recently goes first where room is needed. */
  used(name: string, content: Content): Promise<void>;
}

const LIST_TIMEOUT_MS = 30_000;
const PROBE_TIMEOUT_MS = 30_000;
/** Times that an artifact is listed anew because it changed while it was read; then the adapter's own backoff takes over. */
const RELISTS = 3;
/** An adapter is a flat folder of a few files; a prefix with more is something else. */
const MAX_FILES = 1_000;

export interface ArtifactDeps {
  readonly store: ArtifactStore;
  readonly env: NodeJS.ProcessEnv;
  readonly metrics: Metrics;
  readonly egress: Egress;
  readonly transfers: Transfers;
  /** Where this runtime has a token that lets it ask the sidecars of other pods. */
  readonly peers?: Peers | undefined;
}

/** That a source has other content by now than the one that was decided on. */
interface Moved {
  readonly fingerprint: string;
  /** Of the content that was decided on. */
  readonly digest: string;
  readonly error: AdapterError;
}

export class RemoteArtifacts implements Artifacts {
  readonly #store: ArtifactStore;
  readonly #env: NodeJS.ProcessEnv;
  /** What was found in a content while it was obtained, for the first who asks. */
  readonly #justRead = new WeakMap<Content, AdapterFacts>();
  readonly #metrics: Metrics;
  readonly #egress: Egress;
  readonly #transfers: Transfers;
  readonly #peers: Peers | undefined;
  /** By adapter: what was found out by a download need not be found out by another one. */
  readonly #moved = new Map<string, Moved>();
  readonly #flights = new Flights<StoredContent, Progress>();

  constructor(deps: ArtifactDeps) {
    this.#store = deps.store;
    this.#env = deps.env;
    this.#metrics = deps.metrics;
    this.#egress = deps.egress;
    this.#transfers = deps.transfers;
    this.#peers = deps.peers;
  }

  async obtain(wanted: Wanted, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Content> {
    const parsed = parseArtifactUrl(wanted.url);
    try {
      if (parsed.kind === "path") return await this.#inPlace(parsed, wanted, signal);
      return await this.#fetched(wanted, at(parsed, wanted.content), onProgress, signal);
    } catch (error) {
      throw storageError(error);
    }
  }

  /** Waits until every download has given back its place. Whoever wants one has to leave first. */
  async close(): Promise<void> {
    await this.#flights.ended();
  }

  async used(name: string, content: Content): Promise<void> {
    await this.#store.used(name, content.path);
  }

  async isComplete(name: string, content: Content): Promise<boolean> {
    if (this.#store.digestOf(name, content.path) === content.digest) return await this.#store.isComplete(name, content.digest);
    try {
      const files = selectFiles(await listFolder(content.path), content.path);
      return content.stamp === sourceFingerprint(files);
    } catch {
      return false;
    }
  }

  async inspect(content: Content, signal: AbortSignal): Promise<AdapterFacts> {
    const read = this.#justRead.get(content);
    this.#justRead.delete(content);
    if (read !== undefined) return read;
    const dir = content.local ?? content.path;
    const files = selectFiles(await listFolder(dir), dir);
    return await inspectFolder(
      dir,
      files.map((f) => f.name),
      signal,
    );
  }

  async #inPlace(
    { path, sha256 }: { readonly path: string; readonly sha256?: string },
    { url, content: decided }: Wanted,
    signal: AbortSignal,
  ): Promise<Content> {
    const files = selectFiles(await listFolder(path), path);
    const names = files.map((f) => f.name);
    const unfit = new AbortController();
    const hashing = hashFiles(path, files, AbortSignal.any([signal, unfit.signal]));
    // Where they are no adapter, that is what is told.
    hashing.catch(() => undefined);
    let facts: AdapterFacts;
    try {
      facts = await inspectFolder(path, names, signal);
    } catch (error) {
      unfit.abort(error);
      throw error;
    }
    const digest = contentDigest(await hashing);
    checkPin(url, sha256, [digest]);
    checkDecided(url, decided, digest);
    const content = { path, digest, stamp: sourceFingerprint(files) };
    this.#justRead.set(content, facts);
    return content;
  }

  async #fetched(
    wanted: Wanted,
    artifact: Exclude<ArtifactSource, { kind: "path" }>,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<Content> {
    const decided = wanted.content?.digest;
    const had = decided === undefined ? undefined : await this.#store.get(wanted.name, decided);
    if (had !== undefined && wanted.prove !== true) {
      this.#metrics.cacheHits.inc();
      await this.#store.used(wanted.name, had.path);
      return content(had);
    }
    const local = decided === undefined ? await this.#store.find(wanted.name, wanted.url) : [];
    if (wanted.preferLocal && local[0] !== undefined) {
      this.#metrics.cacheHits.inc();
      await this.#store.used(wanted.name, local[0].path);
      return content(local[0]);
    }
    const secret = { keys: knownKeys(wanted.credentials), hosts: wanted.credentialsHosts };
    const source = await openSource(artifact, secret, { env: this.#env, egress: this.#egress });
    const from = place(artifact, secret.keys, this.#env);
    try {
      for (let relists = RELISTS; ; relists -= 1) {
        // What is here needs no former versions: whether the source may be read shows what is there now.
        const asked = had === undefined ? decidedListing(source, wanted, signal) : select(source, wanted.url, signal);
        const listing = await asked.catch((error: unknown) => {
          throw decided !== undefined && isGone(error) ? explained(error, NOTHING_TO_READ, error.retryable) : error;
        });
        const mayRead = proof(source, listing);
        if (wanted.prove === true) await mayRead(signal);
        if (had !== undefined) {
          await this.#store.used(wanted.name, had.path);
          return content(had);
        }
        const fingerprint = sourceFingerprint(listing.files, from);
        const known = local.find((c) => c.manifest.source_fingerprint === fingerprint);
        if (known !== undefined) {
          this.#metrics.cacheHits.inc();
          await this.#store.touch(wanted.name, known, new Date().toISOString());
          return content(known);
        }
        const server = `${artifact.kind} ${from}`;
        const offer = { wanted, pin: artifact.sha256, server, source, listing, fingerprint, mayRead };
        try {
          return content(await this.#shared(offer, onProgress, signal));
        } catch (error) {
          if (wanted.content !== undefined && (isMoved(error) || isWrong(error)))
            return content(await this.#fromPeers(offer, wanted.content, error, onProgress, signal));
          if (!(error instanceof SourceChanged) || relists === 0) throw error;
        }
      }
    } finally {
      source.close?.();
    }
  }

  /** Takes what was brought here for another adapter or by another pod, joins the download of the same content, or makes it. */
  async #shared(offer: Offer, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<StoredContent> {
    const { wanted } = offer;
    const moved = this.#moved.get(wanted.name);
    if (moved?.fingerprint === offer.fingerprint && moved.digest === wanted.content?.digest) throw moved.error;
    const found = await this.#fromPool(offer, signal);
    if (found !== undefined) {
      checkDecided(wanted.url, wanted.content, found.digest);
      return found;
    }
    const key = contentKey(offer);
    const fly = async () => await this.#flights.join(key, (report, both) => this.#bring(offer, key, report, both), onProgress, signal);
    const joins = this.#flights.has(key);
    if (joins) await offer.mayRead(signal);
    const stored = await fly().catch((error: unknown) => {
      if (joins && error instanceof AdapterError && error.reason === "ArtifactDenied") return fly();
      throw error;
    });
    if (this.#store.digestOf(wanted.name, stored.path) !== undefined) return stored;
    this.#metrics.cacheHits.inc();
    return await this.#store.share(wanted.name, { ...stored, manifest: { ...stored.manifest, ...about(offer) } });
  }

  /**
   * Takes the decided content from the volume, or from other pods, for its source has moved on. That is done only once these credentials have
   * shown that they may read the source: nobody is given what somebody else's brought here.
   *
   * @param moved - what is thrown where nobody gives it, with why
   */
  async #fromPeers(
    offer: Offer,
    { digest, revision }: ContentRef,
    moved: AdapterError,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<StoredContent> {
    const { wanted, fingerprint, mayRead } = offer;
    if (isMoved(moved)) this.#moved.set(wanted.name, { fingerprint, digest, error: moved });
    await mayRead(signal);
    // Not what the source looks like now: that would stand for this content from then on.
    const kept = {
      ...offer,
      // The pin may be that of an archive, which nobody has any more: the digest was decided on by it.
      pin: undefined,
      fingerprint: contentFingerprint(digest),
      listing: { files: [], ...(revision === undefined ? {} : { revision }) },
    };
    const here = await this.#store.fromVolume(wanted.name, digest, about(kept));
    if (here !== undefined) {
      this.#metrics.cacheHits.inc();
      return here;
    }
    const peers = this.#peers;
    if (peers === undefined) throw isMoved(moved) ? explained(moved, PEERS_NEED_TOKEN) : moved;
    const refusals: AdapterError[] = [];
    // Read anew each time: a later call may have named others.
    const asked = new Set<string>();
    const next = () => wanted.peers?.().find((url) => !asked.has(url));
    for (let url = next(); url !== undefined; url = next()) {
      asked.add(url);
      const source = peers.source(url, digest);
      try {
        const { files } = await retried(() => list(source, `the content at ${source.url}`, signal), signal);
        return await this.#shared({ ...kept, server: "peers", source, listing: { ...kept.listing, files } }, onProgress, signal);
      } catch (error) {
        if (signal.aborted || !(error instanceof AdapterError) || !isOfPeer(error)) throw error;
        refusals.push(error);
      }
    }
    const retryable = refusals.some((e) => e.retryable);
    const why = refusals.length === 0 ? "no other pod that has it is known" : refusals.map((e) => e.message).join("; ");
    throw explained(moved, `other pods did not give it: ${why}${retryable ? "; it is tried again" : ""}`, retryable);
  }

  async #fromPool(offer: Offer, signal: AbortSignal): Promise<StoredContent | undefined> {
    if (!(await this.#store.isPooled(about(offer)))) return undefined;
    await offer.mayRead(signal);
    const found = await this.#store.fromPool(offer.wanted.name, about(offer));
    if (found !== undefined) this.#metrics.cacheHits.inc();
    return found;
  }

  /** Fetches, checks and installs; where that fails, what has arrived is kept for the next try as far as it can be of use. */
  async #bring(offer: Offer, key: string, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<StoredContent> {
    const { url, name } = offer.wanted;
    const folder = await this.#store.partial({ key, artifactUrl: url }, signal);
    let keep = false;
    try {
      // Whoever held it before may have brought it.
      const come = await this.#fromPool(offer, signal);
      if (come !== undefined) return come;
      this.#metrics.cacheMisses.inc();
      if (folder.isOld) await offer.mayRead(signal);
      const { files, at } = await this.#download(offer, folder, onProgress, AbortSignal.any([signal, folder.lost]));
      return await this.#store.install(name, at, { ...about(offer), files });
    } catch (error) {
      const told = folder.lost.aborted && !signal.aborted ? takenOver(url) : storageError(error);
      // Who may not read the files says nothing about what somebody else began.
      const isDenied = told instanceof AdapterError && told.reason === "ArtifactDenied";
      const isUntouched = isDenied || told instanceof NoRoom;
      keep = signal.aborted ? !(signal.reason instanceof NoLongerWanted) : isOfUse(told) || (isUntouched && folder.isOld);
      throw told;
    } finally {
      await (keep ? folder.release() : folder.discard());
    }
  }

  /** Brings the files here, and checks them. @returns them, and the folder they are in */
  async #download(
    { wanted, pin, source, listing, fingerprint }: Offer,
    folder: PartialFolder,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<{ readonly files: readonly Downloaded[]; readonly at: string }> {
    const { url } = wanted;
    const makeRoom = (neededBytes: number) => this.#store.makeRoom(neededBytes);
    const fetched = await this.#transfers.fetch({ url, source, listing, fingerprint, folder, makeRoom }, onProgress, signal);
    const { files, at, archiveDigest } = await unpacked(url, listing, fetched, folder.files, signal);
    checkPin(url, pin, [contentDigest(files), ...archiveDigest]);
    checkDecided(url, wanted.content, contentDigest(files));
    await inspectFolder(
      at,
      files.map((f) => f.name),
      signal,
    );
    return { files, at };
  }
}

/** What a source gives for an adapter. */
interface Offer {
  readonly wanted: Wanted;
  /** What the content must hash to. */
  readonly pin: string | undefined;
  /** Who answers for what the listing says. */
  readonly server: string;
  readonly source: Source;
  /** Of the files that count only. */
  readonly listing: Listing;
  readonly fingerprint: string;
  /**
   * Shows that this adapter's own credentials let it read the files: what others brought here, or began to, is given to nobody else. A listing
   * is no proof, for those of gated repositories are public. Asks until it was shown once; throws AdapterError.
   */
  readonly mayRead: (signal: AbortSignal) => Promise<void>;
}

function about({ wanted, listing, fingerprint }: Offer) {
  return {
    artifact_url: wanted.url,
    source_fingerprint: fingerprint,
    ...(listing.revision === undefined ? {} : { resolved_revision: listing.revision }),
    fetched_at: new Date().toISOString(),
  };
}

/** Whether a later try can go on after an error: the source was away. Wrong content is read anew, and a full volume is made free, but for an archive that is here whole: else
 * each try would fetch it again. Where somebody needs its room it goes like all that was left lying. */
function isOfUse(error: unknown): boolean {
  if (error instanceof NoRoomToUnpack) return true;
  return !(error instanceof AdapterError) || (error.reason === "ArtifactUnavailable" && !(error instanceof SourceChanged));
}

/** Reads one byte of the largest file: of the weights, not of what goes with them. @throws AdapterError where these credentials may not */
async function probe(source: Source, listing: Listing, signal: AbortSignal): Promise<void> {
  const [file] = [...listing.files].sort((a, b) => b.sizeBytes - a.sizeBytes);
  if (file === undefined || file.sizeBytes === 0) return;
  const limit = deadline(PROBE_TIMEOUT_MS, signal);
  const read = async () => {
    try {
      const body = await source.read(listing, file, { start: 0, end: 1 }, limit);
      body.on("error", () => undefined).destroy();
    } catch (error) {
      if (!(error instanceof NoRanges)) throw error; // It was about to give all of it.
    }
  };
  try {
    await retried(read, limit);
  } catch (error) {
    if (limit.aborted && !signal.aborted)
      throw new AdapterError(
        "ArtifactUnavailable",
        `${file.name} is here already, and its source did not answer within ${PROBE_TIMEOUT_MS / 1000} s whether this adapter may read it; it is tried again`,
        { cause: timeoutError() },
      );
    throw error;
  }
}

function proof(source: Source, listing: Listing): Offer["mayRead"] {
  let shown = false;
  return async (signal) => {
    if (!shown) await probe(source, listing, signal);
    shown = true;
  };
}

/** The files of the content that was decided on, where the source has them now or keeps former versions of them; else those that it has now. */
async function decidedListing(source: Source, { url, content: decided }: Wanted, signal: AbortSignal): Promise<Listing> {
  const revision = decided?.revision;
  if (source.versions === undefined || !isFilesRevision(revision)) return await select(source, url, signal);
  const now = await select(source, url, signal).catch((error: unknown) => {
    if (error instanceof AdapterError && GONE.includes(error.reason) && !signal.aborted) return error;
    throw error;
  });
  if (!(now instanceof AdapterError) && now.revision === revision) return now;
  const files = filesAt(revision, await versionsOf(source, url, signal));
  if (files !== undefined) {
    const former = await described(source, { files, revision }, url, signal);
    if (now instanceof AdapterError || (await isReadable(source, former, signal))) return former;
  }
  if (now instanceof AdapterError) throw now;
  return now;
}

/** Whether former versions can be read: that takes rights of its own, and they may be archived or about to go. */
async function isReadable(source: Source, former: Listing, signal: AbortSignal): Promise<boolean> {
  try {
    await probe(source, former, signal);
    return true;
  } catch (error) {
    if (error instanceof AdapterError && !error.retryable && !signal.aborted) return false;
    throw error;
  }
}

/** Reasons of a listing that has no adapter any more. */
const GONE: readonly string[] = ["ArtifactNotFound", "ArtifactInvalid"];

/** What a source keeps of former versions; nothing where it keeps none, or these credentials may not see them. */
async function versionsOf(source: Source, url: string, signal: AbortSignal): Promise<readonly RemoteFile[]> {
  const ask = async (limit: AbortSignal) => (await source.versions?.(limit)) ?? [];
  return await retried(() => listed(url, ask, signal), signal).catch((error: unknown) => {
    if (error instanceof AdapterError && !error.retryable && !signal.aborted) return [];
    throw error;
  });
}

async function select(source: Source, url: string, signal: AbortSignal): Promise<Listing> {
  const listing = await retried(() => list(source, url, signal), signal);
  // What is in an archive is known once it is here.
  const files = listing.archive === undefined ? selectFiles(listing.files, url) : listing.files;
  if (files.length > MAX_FILES)
    throw new AdapterError(
      "ArtifactInvalid",
      `${url} has ${files.length} files that an engine would read, and an adapter has a few: write the URL of the folder of one adapter`,
    );
  const revision = listing.revision ?? (source.versions === undefined ? undefined : filesRevision(files));
  return await described(source, { ...listing, files, ...(revision === undefined ? {} : { revision }) }, url, signal);
}

/** Lists a source, with a deadline. */
export async function list(source: Source, url: string, signal: AbortSignal): Promise<Listing> {
  return await listed(url, (limit) => source.list(limit), signal);
}

/** A listing with all that the source states of the files in it, with a deadline. */
export async function described(source: Source, listing: Listing, url: string, signal: AbortSignal): Promise<Listing> {
  const ask = async (limit: AbortSignal) => (await source.describe?.(listing.files, limit)) ?? listing.files;
  return { ...listing, files: await retried(() => listed(url, ask, signal), signal) };
}

async function listed<T>(url: string, call: (limit: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  const limit = deadline(LIST_TIMEOUT_MS, signal);
  try {
    return await call(limit);
  } catch (error) {
    if (limit.aborted && !signal.aborted)
      throw new AdapterError("ArtifactUnavailable", `${url} was not listed within ${LIST_TIMEOUT_MS / 1000} s; it is tried again`, {
        cause: timeoutError(),
      });
    throw error;
  }
}

/** The same artifact at the commit that was decided on, where its source has commits. */
function at<T extends ArtifactSource>(artifact: T, decided: ContentRef | undefined): T {
  return artifact.kind === "huggingface" && decided?.revision !== undefined ? { ...artifact, revision: decided.revision } : artifact;
}

function content(stored: StoredContent): Content {
  const { resolved_revision: revision } = stored.manifest;
  return { path: stored.path, digest: stored.digest, ...(revision === undefined ? {} : { revision }) };
}

const PEERS_NEED_TOKEN =
  "pods give it to each other where the sidecars were started with one --token-file, and the controller with --runtime-token-file";

/** Where nothing is left that could be read nobody can show that they may read it. */
const NOTHING_TO_READ =
  "where pods have it they go on serving it, and give it to no other one, for nothing is left there that could show who may read it: put the files back";

function isGone(error: unknown): error is AdapterError {
  return error instanceof AdapterError && error.reason === "ArtifactNotFound";
}

function isMoved(error: unknown): error is AdapterError {
  return error instanceof AdapterError && error.reason === "ArtifactChanged";
}

/** Whether what the source gives now is no adapter, or another one than its URL is pinned to. */
function isWrong(error: unknown): error is AdapterError {
  return error instanceof AdapterError && error.reason === "ArtifactInvalid";
}

/** @param retryable - whether who has it may give it later */
function explained(moved: AdapterError, why: string, retryable = false): AdapterError {
  return new AdapterError(moved.reason, `${moved.message}; ${why}`, { retryable, cause: moved.cause });
}

/** Whether an error says something about the pod that was asked, so that another one may do. */
function isOfPeer(error: AdapterError): boolean {
  return ["ArtifactNotFound", "ArtifactDenied", "ArtifactUnavailable", "ArtifactInvalid"].includes(error.reason);
}

function takenOver(url: string): AdapterError {
  return new AdapterError(
    "ArtifactUnavailable",
    `another pod went on with the download of ${url}, for this one stood still too long; it is tried again`,
  );
}

/**
 * Stands for one content, as far as that can be known before it is here: by its hashes where the source states one for each file, whatever the
 * URL; else by what the server at the other end says of it. The server is part of it: another one could state the hashes of what it does not have.
 */
function contentKey({ wanted, pin, server, listing, fingerprint }: Offer): string {
  const hashes = listing.files.map((f) => f.sha256 ?? f.digests?.find((d) => d.algorithm === "git-sha1")?.hex);
  const by = hashes.every((hash) => hash !== undefined)
    ? listing.files.map((f, i) => [f.name, f.sizeBytes, hashes[i]]).sort()
    : [fingerprint, wanted.url];
  return createHash("sha256")
    .update(JSON.stringify([pin ?? "", server, by, ...(wanted.content === undefined ? [] : [wanted.content.digest])]))
    .digest("hex");
}

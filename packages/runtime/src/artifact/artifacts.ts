import { createHash } from "node:crypto";
import { type ArtifactSource, parseArtifactUrl } from "@aibrix/api";
import { deadline } from "@aibrix/service";
import pLimit from "p-limit";
import type { Egress } from "../egress/egress.ts";
import { AdapterError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { unpacked } from "./archive/unpack.ts";
import { type AdapterFacts, inspectFolder } from "./check/adapter.ts";
import { selectFiles } from "./check/select.ts";
import { checkPin } from "./pin.ts";
import { knownKeys } from "./sources/credentials.ts";
import { openSource } from "./sources/open.ts";
import { hashFiles, listFolder } from "./sources/path.ts";
import type { Credentials, Listing, RemoteFile, Source } from "./sources/source.ts";
import type { PartialFolder } from "./store/partial.ts";
import { sourceKey } from "./store/pool.ts";
import { type ArtifactStore, contentDigest, type StoredContent } from "./store/store.ts";
import { type Downloaded, downloadFile, retried, storageError, timeoutError } from "./transfer/download.ts";

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
  readonly delivery?: Delivery | undefined;
}

/** Brings artifacts here, whole and checked. What the runtime knows of storage is behind this. */
export interface Artifacts {
  /**
   * @param onProgress - bytes here so far, and in all
   * @throws AdapterError
   */
  obtain(wanted: Wanted, onProgress: (bytes: number, totalBytes: number) => void, signal: AbortSignal): Promise<Content>;
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

/** Files of one artifact that are fetched at once. */
const PARALLEL_FILES = 4;
const LIST_TIMEOUT_MS = 30_000;

export class RemoteArtifacts implements Artifacts {
  readonly #store: ArtifactStore;
  readonly #env: NodeJS.ProcessEnv;
  readonly #metrics: Metrics;
  readonly #egress: Egress;

  constructor(deps: {
    readonly store: ArtifactStore;
    readonly env: NodeJS.ProcessEnv;
    readonly metrics: Metrics;
    readonly egress: Egress;
  }) {
    this.#store = deps.store;
    this.#env = deps.env;
    this.#metrics = deps.metrics;
    this.#egress = deps.egress;
  }

  async obtain(wanted: Wanted, onProgress: (bytes: number, totalBytes: number) => void, signal: AbortSignal): Promise<Content> {
    const parsed = parseArtifactUrl(wanted.url);
    try {
      if (parsed.kind === "path") return await this.#inPlace(parsed, wanted.url, signal);
      return await this.#fetched(wanted, parsed, onProgress, signal);
    } catch (error) {
      throw storageError(error);
    }
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
    url: string,
    signal: AbortSignal,
  ): Promise<Content> {
    const files = selectFiles(await listFolder(path), path);
    await inspectFolder(
      path,
      files.map((f) => f.name),
      signal,
    );
    const digest = contentDigest(await hashFiles(path, files, signal));
    checkPin(url, sha256, [digest]);
    return { path, digest, stamp: sourceFingerprint(files) };
  }

  async #fetched(
    wanted: Wanted,
    artifact: Exclude<ArtifactSource, { kind: "path" }>,
    onProgress: (bytes: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<Content> {
    const local = await this.#store.find(wanted.name, wanted.url);
    if (wanted.preferLocal && local[0] !== undefined) {
      this.#metrics.cacheHits.inc();
      await this.#store.used(wanted.name, local[0].path);
      return content(local[0]);
    }
    const secret = { keys: knownKeys(wanted.credentials), hosts: wanted.credentialsHosts };
    const source = await openSource(artifact, secret, { env: this.#env, egress: this.#egress });
    try {
      const listing = await retried(() => list(source, wanted.url, signal), signal);
      // What is in an archive is known once it is here.
      const files = listing.archive === undefined ? selectFiles(listing.files, wanted.url) : listing.files;
      const fingerprint = sourceFingerprint(files, place(artifact, secret.keys, this.#env));
      const known = local.find((c) => c.manifest.source_fingerprint === fingerprint);
      if (known !== undefined) {
        this.#metrics.cacheHits.inc();
        await this.#store.touch(wanted.name, known, new Date().toISOString());
        return content(known);
      }
      return content(await this.#shared(wanted, artifact.sha256, source, { ...listing, files }, fingerprint, onProgress, signal));
    } finally {
      source.close?.();
    }
  }

  /** Takes what another adapter or pod has brought here, or brings it here for all of them. */
  async #shared(
    wanted: Wanted,
    pin: string | undefined,
    source: Source,
    listing: Listing,
    fingerprint: string,
    onProgress: (bytes: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<StoredContent> {
    const { name, url } = wanted;
    const about = {
      artifact_url: url,
      source_fingerprint: fingerprint,
      ...(listing.revision === undefined ? {} : { resolved_revision: listing.revision }),
    };
    const fromPool = async () => {
      const found = await this.#store.fromPool(name, { ...about, fetched_at: new Date().toISOString() });
      if (found !== undefined) this.#metrics.cacheHits.inc();
      return found;
    };
    const found = await fromPool();
    if (found !== undefined) return found;
    const partial = await this.#store.partial({ key: sourceKey(url, fingerprint), artifactUrl: url }, signal);
    let done = false; // What is whole, or damaged for good, is nothing to go on with.
    try {
      // Whoever held it before may have brought it.
      const come = await fromPool();
      done = come !== undefined;
      if (come !== undefined) return come;
      this.#metrics.cacheMisses.inc();
      const either = AbortSignal.any([signal, partial.lost]);
      const { files, at } = await this.#download({ url, pin, source }, listing, partial, onProgress, either).catch((error: unknown) => {
        throw partial.lost.aborted && !signal.aborted ? takenOver(url) : error;
      });
      const stored = await this.#store.install(name, at, { ...about, fetched_at: new Date().toISOString(), files });
      done = true;
      return stored;
    } catch (error) {
      done ||= error instanceof AdapterError && !error.retryable;
      throw error;
    } finally {
      await (done ? partial.discard() : partial.release());
    }
  }

  /** Brings the files here, and checks them. @returns them, and the folder they are in */
  async #download(
    { url, pin, source }: { readonly url: string; readonly pin: string | undefined; readonly source: Source },
    listing: Listing,
    { files: folder }: PartialFolder,
    onProgress: (bytes: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<{ readonly files: readonly Downloaded[]; readonly at: string }> {
    const total = listing.files.reduce((sum, f) => sum + f.sizeBytes, 0);
    // An archive and what is in it are here together for a while; weights hardly shrink.
    await this.#store.makeRoom(listing.archive === undefined ? total : 2 * total);
    const limit = pLimit(PARALLEL_FILES);
    // The first file that fails ends the others.
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    let bytes = 0;
    const onBytes = (n: number) => {
      bytes += n;
      if (n > 0) this.#metrics.downloadedBytes.inc(n);
      onProgress(bytes, total);
    };
    onProgress(0, total);
    const tasks = listing.files.map((file) =>
      limit(async () => {
        try {
          return await downloadFile(source, listing, file, { target: `${folder}/${file.name}`, onBytes }, both);
        } catch (error) {
          failed.abort(error);
          throw error;
        }
      }),
    );
    const settled = await Promise.allSettled(tasks);
    signal.throwIfAborted();
    failed.signal.throwIfAborted();
    const fetched = settled.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    const { files, at, archiveDigest } = await unpacked(url, listing, fetched, folder, signal);
    checkPin(url, pin, [contentDigest(files), ...archiveDigest]);
    await inspectFolder(
      at,
      files.map((f) => f.name),
      signal,
    );
    return { files, at };
  }
}

/** Lists a source, with a deadline. */
export async function list(source: Source, url: string, signal: AbortSignal): Promise<Listing> {
  const limit = deadline(LIST_TIMEOUT_MS, signal);
  try {
    return await source.list(limit);
  } catch (error) {
    if (limit.aborted && !signal.aborted)
      throw new AdapterError("ArtifactUnavailable", `${url} was not listed within ${LIST_TIMEOUT_MS / 1000} s; it is tried again`, {
        cause: timeoutError(),
      });
    throw error;
  }
}

function content(stored: StoredContent): Content {
  const { resolved_revision: revision } = stored.manifest;
  return { path: stored.path, digest: stored.digest, ...(revision === undefined ? {} : { revision }) };
}

/** Who answers for the ids of a source: two servers may have one name for two things, and one of them may be anybody's. */
function place({ kind }: ArtifactSource, credentials: Credentials, env: NodeJS.ProcessEnv): string {
  const places: Partial<Record<ArtifactSource["kind"], string | undefined>> = {
    huggingface: env.HF_ENDPOINT,
    gs: env.STORAGE_EMULATOR_HOST,
    s3: credentials.aws_endpoint_url ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL,
  };
  return places[kind] ?? "";
}

function takenOver(url: string): AdapterError {
  return new AdapterError(
    "ArtifactUnavailable",
    `another pod went on with the download of ${url}, for this one stood still too long; it is tried again`,
  );
}

/** What the source says of the files, as one hash: names, sizes, and ids of the contents. A source without ids never counts as unchanged. */
function sourceFingerprint(files: readonly RemoteFile[], from = ""): string {
  const lines = files.map((f) => JSON.stringify([f.name, f.sizeBytes, f.sha256 ?? "", f.etag || crypto.randomUUID()])).sort();
  if (from !== "") lines.unshift(from);
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

import { createHash, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { described, list } from "../artifact/artifacts.ts";
import { place, sourceFingerprint } from "../artifact/fingerprint.ts";
import { checkPin } from "../artifact/pin.ts";
import type { Secret } from "../artifact/sources/credentials.ts";
import { openSource } from "../artifact/sources/open.ts";
import { type Listing, type Source, SourceChanged } from "../artifact/sources/source.ts";
import { type Layout, makeFolder, writeReadable } from "../artifact/store/layout.ts";
import { Locks } from "../artifact/store/lock.ts";
import { type PartialFolder, PartialFolders } from "../artifact/store/partial.ts";
import { contentDigest } from "../artifact/store/store.ts";
import type { Downloaded } from "../artifact/transfer/download.ts";
import type { Progress } from "../artifact/transfer/meter.ts";
import { retried } from "../artifact/transfer/retry.ts";
import { storageError } from "../artifact/transfer/storage-error.ts";
import type { Transfers } from "../artifact/transfer/transfers.ts";
import type { Egress } from "../egress/egress.ts";
import { AdapterError } from "../errors.ts";
import { MODEL_MANIFEST, type ModelManifest, missingFile, readModelManifest } from "./manifest.ts";
import type { ModelSource } from "./model-uri.ts";
import { checkFree, openModelsFolder, putInPlace } from "./place.ts";

/** Which model is wanted, and where. */
export interface WantedModel {
  readonly uri: string;
  readonly source: ModelSource;
  /** Only files whose names end so; all where it is empty. */
  readonly suffixes: readonly string[];
  /** Absolute. */
  readonly localDir: string;
  /** Name of the model's folder in it. */
  readonly name: string;
  readonly secret: Secret;
}

export interface FetchDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly egress: Egress;
  readonly transfers: Transfers;
}

/** Who wants to know how far it is. */
export interface Watcher {
  /** The source has told what there is. */
  listed(listing: Listing): void;
  progress(progress: Progress): void;
}

export interface FetchedModel {
  readonly path: string;
  readonly manifest: ModelManifest;
  /** Whether anything was downloaded. */
  readonly fetched: boolean;
  /** Why the source could not be asked whether it has something newer than what is here. */
  readonly unasked?: string;
}

/** Times that a model is listed anew because it changed while it was read. */
const RELISTS = 3;
const COMMIT = /^[0-9a-f]{40}$/;

/**
 * Brings a whole model here, unless it is here. Its folder is there once it is whole, never before: it grows in `.cache` beside it, where a
 * later try goes on, also after this process was killed.
 *
 * @throws AdapterError
 */
export async function fetchModel(wanted: WantedModel, deps: FetchDeps, watcher: Watcher, signal: AbortSignal): Promise<FetchedModel> {
  try {
    return await fetched(wanted, deps, watcher, signal);
  } catch (error) {
    throw signal.aborted ? error : storageError(error);
  }
}

/** The folder of a model. */
export function modelPath({ localDir, name }: Pick<WantedModel, "localDir" | "name">): string {
  return join(localDir, name);
}

/** The manifest of a model that is here, whole, and of just this URI and these files, as far as can be told without asking the source. */
export async function modelHere(wanted: WantedModel): Promise<ModelManifest | undefined> {
  const path = modelPath(wanted);
  const manifest = await readModelManifest(path);
  if (manifest?.model_uri !== wanted.uri || !isSameList(manifest.allow_file_suffix, wanted.suffixes)) return undefined;
  return (await missingFile(path, manifest)) === undefined ? manifest : undefined;
}

async function fetched(wanted: WantedModel, deps: FetchDeps, watcher: Watcher, signal: AbortSignal): Promise<FetchedModel> {
  const path = modelPath(wanted);
  const here = await modelHere(wanted);
  if (here !== undefined && neverChanges(wanted.source)) return { path, manifest: here, fetched: false };
  const layout = await openModelsFolder(wanted.localDir, lockOwner(deps.env));
  await checkFree(path, wanted.source);
  const partials = new PartialFolders(layout, new Locks(layout));
  await partials.sweep(Date.now());
  const source = await openSource(wanted.source, wanted.secret, { ...deps, nested: true });
  try {
    for (let relists = RELISTS; ; relists -= 1) {
      try {
        return await once({ wanted, deps, layout, partials, source, here }, watcher, signal);
      } catch (error) {
        if (!(error instanceof SourceChanged) || relists === 0) throw error;
      }
    }
  } finally {
    source.close?.();
  }
}

interface Attempt {
  readonly wanted: WantedModel;
  readonly deps: FetchDeps;
  readonly layout: Layout;
  readonly partials: PartialFolders;
  readonly source: Source;
  readonly here: ModelManifest | undefined;
}

async function once(attempt: Attempt, watcher: Watcher, signal: AbortSignal): Promise<FetchedModel> {
  const { wanted, deps, partials, source, here } = attempt;
  const path = modelPath(wanted);
  let listing: Listing;
  try {
    const all = await retried(() => list(source, wanted.uri, signal), signal);
    listing = await described(source, select(all, wanted), wanted.uri, signal);
  } catch (error) {
    // A pod that starts anew must not depend on a Hub that is away, where it has all that it had.
    if (here === undefined || !(error instanceof AdapterError) || error.reason !== "ArtifactUnavailable" || signal.aborted) throw error;
    return { path, manifest: here, fetched: false, unasked: error.message };
  }
  const from = place(wanted.source, wanted.secret.keys, deps.env);
  const fingerprint = sourceFingerprint(listing.files, from);
  if (here?.source_fingerprint === fingerprint) return { path, manifest: here, fetched: false };
  watcher.listed(listing);
  const key = createHash("sha256")
    .update(JSON.stringify([fingerprint, wanted.name]))
    .digest("hex");
  const work = await partials.take({ key, artifactUrl: wanted.uri }, signal);
  let keep = true;
  try {
    // Whoever held it before may have brought it.
    const come = await modelHere(wanted);
    if (come?.source_fingerprint === fingerprint) {
      keep = false;
      return { path, manifest: come, fetched: false };
    }
    await checkFree(path, wanted.source);
    const manifest = await bring(attempt, { listing, fingerprint, work }, watcher, AbortSignal.any([signal, work.lost]));
    await putInPlace(attempt.layout, work.files, path, wanted.source);
    keep = false;
    return { path, manifest, fetched: true };
  } catch (error) {
    if (error instanceof SourceChanged || (error instanceof AdapterError && error.reason === "FolderTaken")) keep = false;
    throw work.lost.aborted && !signal.aborted ? takenOver(wanted.uri) : error;
  } finally {
    await (keep ? work.release() : work.discard());
  }
}

async function bring(
  { wanted, deps, source }: Attempt,
  { listing, fingerprint, work }: { readonly listing: Listing; readonly fingerprint: string; readonly work: PartialFolder },
  watcher: Watcher,
  signal: AbortSignal,
): Promise<ModelManifest> {
  for (const folder of foldersOf(listing)) await makeFolder(join(work.files, folder));
  const of = { url: wanted.uri, source, listing, fingerprint, folder: work };
  const files = await deps.transfers.fetch(of, (progress) => watcher.progress(progress), signal);
  const manifest = manifestOf(wanted, listing, fingerprint, files);
  checkPin(wanted.uri, wanted.source.sha256, [manifest.content_digest]);
  await writeReadable(join(work.files, MODEL_MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

/** Every folder of a listing's files, a folder before those in it. */
function foldersOf({ files }: Listing): readonly string[] {
  const folders = new Set<string>();
  for (const { name } of files) for (let at = dirname(name); at !== "."; at = dirname(at)) folders.add(at);
  return [...folders].sort((a, b) => a.length - b.length);
}

function manifestOf(wanted: WantedModel, listing: Listing, fingerprint: string, files: readonly Downloaded[]): ModelManifest {
  return {
    version: 1,
    model_uri: wanted.uri,
    ...(listing.revision === undefined ? {} : { resolved_revision: listing.revision }),
    source_fingerprint: fingerprint,
    allow_file_suffix: [...wanted.suffixes],
    content_digest: contentDigest(files),
    completed_at: new Date().toISOString(),
    files: files.map((f) => ({ name: f.name, size_bytes: f.sizeBytes, sha256: f.sha256 })),
  };
}

/** The files that are wanted of a listing. @throws AdapterError `ArtifactInvalid` where there are none */
function select(listing: Listing, { uri, suffixes }: WantedModel): Listing {
  // One of ours: somebody uploaded a folder that was downloaded so.
  const all = listing.files.filter((f) => f.name !== MODEL_MANIFEST);
  const files = suffixes.length === 0 ? all : all.filter((f) => suffixes.some((s) => f.name.endsWith(s)));
  if (files.length > 0) return { ...listing, files };
  throw new AdapterError(
    "ArtifactInvalid",
    all.length === 0
      ? `there are no files in ${uri}: check what the URI points to`
      : `none of the ${all.length} files of ${uri} ends in ${suffixes.join(" or ")}: correct the allowed suffixes`,
  );
}

/** Whether what a URI means is fixed by its text. */
function neverChanges(source: ModelSource): boolean {
  return source.sha256 !== undefined || (source.kind === "huggingface" && COMMIT.test(source.revision ?? ""));
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/**
 * Who holds this process's locks. A container that is started anew in its pod knows so that the last one is gone; elsewhere every process is
 * one of its own, for two may well run at once.
 */
function lockOwner(env: NodeJS.ProcessEnv): string {
  return env.POD_UID || (env.KUBERNETES_SERVICE_HOST ? hostname() : randomUUID());
}

function takenOver(uri: string): AdapterError {
  return new AdapterError("ArtifactUnavailable", `another process went on with the download of ${uri}, for this one stood still too long`);
}

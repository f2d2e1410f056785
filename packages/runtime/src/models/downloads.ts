import type { ModelDownloadRequest, ModelStatus } from "@aibrix/api";
import { type Logger, Shutdown } from "@aibrix/service";
import { knownKeys } from "../artifact/sources/credentials.ts";
import type { Listing } from "../artifact/sources/source.ts";
import type { Progress } from "../artifact/transfer/meter.ts";
import { AdapterError, errorDetail, RequestError, stackOf } from "../errors.ts";
import { type FetchDeps, type FetchedModel, fetchModel, modelHere, modelPath, type WantedModel } from "./fetch.ts";
import { type ModelManifest, modelBytes } from "./manifest.ts";
import { modelFolderName, parseModelUri, readSuffixes } from "./model-uri.ts";
import { checkFree, folderBelow, modelAbove } from "./place.ts";
import { modelsIn } from "./scan.ts";

/** Downloads that run at once; each has several connections of its own. */
const MAX_RUNNING = 4;
/** Failed ones that are remembered. */
const MAX_FAILED = 100;
/** How long a call waits for the source to say what there is, in milliseconds, so that it can answer what is wrong. */
const LISTED_MS = 10_000;
/** And then for the first bytes: who may list may not always read. */
const FIRST_BYTES_MS = 1_000;

/** What a call answers. */
export interface ModelAnswer {
  readonly status: 200 | 202;
  readonly body: ModelStatus;
}

interface Job {
  readonly wanted: WantedModel;
  readonly controller: AbortController;
  /** Resolves when the source has told what there is, and when it has ended. Never rejects. */
  readonly listed: Promise<void>;
  /** Resolves when the first bytes came, and when it has ended. Never rejects. */
  readonly began: Promise<void>;
  /** Never rejects. */
  readonly ended: Promise<void>;
  listing: Listing | undefined;
  progress: Progress | undefined;
  error: AdapterError | undefined;
  done: FetchedModel | undefined;
}

export interface DownloadsDeps extends FetchDeps {
  /** `--models-dir`, absolute. */
  readonly modelsDir: string;
  readonly log: Logger;
}

/** Base models that calls asked for. Nothing of it survives the process but the files: a half download goes on when it is asked for again. */
export class ModelDownloads {
  readonly #deps: DownloadsDeps;
  /** By the model's folder: those that run, and those that failed. */
  readonly #jobs = new Map<string, Job>();

  constructor(deps: DownloadsDeps) {
    this.#deps = deps;
  }

  /**
   * Starts a download, joins the one that runs, or tells that the model is here. What is wrong with the request or at the source is thrown
   * where it is known soon.
   *
   * @param gone - aborts when nobody waits for the answer any more; the download goes on
   * @throws AdapterError, RequestError
   */
  async start(request: ModelDownloadRequest, gone: AbortSignal): Promise<ModelAnswer> {
    const wanted = await this.#read(request);
    const path = modelPath(wanted);
    const running = this.#running(path);
    if (running !== undefined && !isSame(running.wanted, wanted))
      throw new AdapterError(
        "FolderTaken",
        `${path} is being filled with ${running.wanted.uri}: give this model another model_name, or wait for that one`,
      );
    if (running === undefined) {
      const here = await modelHere(wanted);
      if (here !== undefined) return { status: 200, body: ready(path, wanted.name, here) };
      await checkFree(path, wanted.source);
    }
    // Looked up once more: another call may have come first meanwhile.
    const job = this.#running(path) ?? this.#begin(path, wanted);
    await within(LISTED_MS, job.listed, gone);
    if (job.listing !== undefined) await within(FIRST_BYTES_MS, job.began, gone);
    if (job.error !== undefined) throw job.error;
    if (job.done !== undefined) return { status: 200, body: ready(path, wanted.name, job.done.manifest) };
    return { status: 202, body: statusOfJob(job) };
  }

  /** What is here, and then what is on its way or has failed. A model that is being renewed is told twice. */
  async list(): Promise<readonly ModelStatus[]> {
    const here = await modelsIn(this.#deps.modelsDir);
    const models = here.map(({ path, name, manifest, missing }) =>
      missing === undefined ? ready(path, name, manifest) : damaged(path, name, manifest, missing),
    );
    return [...models, ...[...this.#jobs.values()].map(statusOfJob)];
  }

  /** Ends what runs; what has arrived is kept. */
  async close(): Promise<void> {
    const jobs = [...this.#jobs.values()];
    for (const { controller } of jobs) controller.abort(new Shutdown("the runtime ends"));
    await Promise.all(jobs.map((j) => j.ended));
  }

  async #read(request: ModelDownloadRequest): Promise<WantedModel> {
    const { modelsDir } = this.#deps;
    const { uri, source } = parseModelUri(request.model_uri);
    const name = modelFolderName(request.model_name, source);
    const localDir = await folderBelow(modelsDir, request.local_dir);
    if (localDir === undefined)
      throw new RequestError(
        400,
        "InvalidRequest",
        `local_dir: must be ${modelsDir} (--models-dir) or a folder in it, and no part of it may begin with a dot`,
      );
    const above = await modelAbove(modelsDir, localDir);
    if (above !== undefined)
      throw new AdapterError(
        "FolderTaken",
        `local_dir: ${above} is a model's own folder: write a folder beside it, ${modelsDir} for example`,
      );
    const secret = { keys: knownKeys(request.credentials ?? {}), hosts: request.credentials_hosts };
    return { uri, source, suffixes: readSuffixes(request.allow_file_suffix), localDir, name, secret };
  }

  #running(path: string): Job | undefined {
    const job = this.#jobs.get(path);
    return job?.error === undefined ? job : undefined;
  }

  #begin(path: string, wanted: WantedModel): Job {
    const all = [...this.#jobs.values()];
    if (all.filter((j) => j.error === undefined).length >= MAX_RUNNING)
      throw new RequestError(429, "TooManyDownloads", `${MAX_RUNNING} models are being downloaded: ask again when one of them is here`);
    const failed = [...this.#jobs].filter(([, j]) => j.error !== undefined);
    for (const [old] of failed.slice(0, Math.max(0, failed.length - MAX_FAILED + 1))) this.#jobs.delete(old);
    const controller = new AbortController();
    const listed = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const run = async () => {
      try {
        const watcher = {
          listed: (listing: Listing) => {
            job.listing = listing;
            listed.resolve();
          },
          progress: (progress: Progress) => {
            // The first one tells what was here before.
            if (job.progress !== undefined) began.resolve();
            job.progress = progress;
          },
        };
        job.done = await fetchModel(wanted, this.#deps, watcher, controller.signal);
        this.#deps.log.info({ model: wanted.uri, path, fetched: job.done.fetched }, "the model is here");
        this.#jobs.delete(path);
      } catch (error) {
        job.error = error instanceof AdapterError ? error : this.#unexpected(error, controller.signal);
        this.#deps.log.warn({ model: wanted.uri, path, reason: job.error.reason, error: job.error.message }, "the model is not here");
      } finally {
        listed.resolve();
        began.resolve();
      }
    };
    const job: Job = {
      wanted,
      controller,
      listed: listed.promise,
      began: began.promise,
      // After the job is in the map.
      ended: Promise.resolve().then(run),
      listing: undefined,
      progress: undefined,
      error: undefined,
      done: undefined,
    };
    this.#jobs.delete(path);
    this.#jobs.set(path, job);
    return job;
  }

  #unexpected(error: unknown, signal: AbortSignal): AdapterError {
    if (signal.aborted)
      return new AdapterError("ArtifactUnavailable", "the download was ended, for the runtime ends: ask again", { cause: error });
    this.#deps.log.error({ stack: stackOf(error) }, "a download ended by an error that nobody expected");
    return new AdapterError("ArtifactUnavailable", "the download ended by an error that nobody expected: look into the runtime's log", {
      cause: error,
    });
  }
}

function isSame(a: WantedModel, b: WantedModel): boolean {
  return a.uri === b.uri && a.suffixes.join() === b.suffixes.join();
}

/** Waits for something, but not longer than so many milliseconds, nor than the signal allows. */
async function within(ms: number, word: Promise<void>, gone: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([gone, AbortSignal.timeout(ms)]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  limit.addEventListener("abort", end, { once: true });
  if (limit.aborted) end();
  try {
    await Promise.race([word, promise]);
  } finally {
    limit.removeEventListener("abort", end);
  }
}

function statusOfJob({ wanted, listing, progress, error }: Job): ModelStatus {
  const total = progress?.totalBytes ?? listing?.files.reduce((sum, f) => sum + f.sizeBytes, 0);
  return {
    model_name: wanted.name,
    model_uri: wanted.uri,
    path: modelPath(wanted),
    state: error !== undefined ? "Failed" : listing === undefined ? "Listing" : "Downloading",
    ...(listing?.revision === undefined ? {} : { resolved_revision: listing.revision }),
    ...suffixesOf(wanted.suffixes),
    bytes: progress?.bytes ?? 0,
    ...(total === undefined ? {} : { total_bytes: total }),
    ...(progress === undefined || error !== undefined ? {} : { bytes_per_second: progress.bytesPerSecond }),
    ...(listing === undefined ? {} : { files: listing.files.length }),
    ...(error === undefined ? {} : { error: errorDetail(error) }),
  };
}

function ready(path: string, name: string, manifest: ModelManifest): ModelStatus {
  const bytes = modelBytes(manifest);
  return {
    model_name: name,
    model_uri: manifest.model_uri,
    path,
    state: "Ready",
    ...(manifest.resolved_revision === undefined ? {} : { resolved_revision: manifest.resolved_revision }),
    ...suffixesOf(manifest.allow_file_suffix),
    bytes,
    total_bytes: bytes,
    files: manifest.files.length,
    completed_time: manifest.completed_at,
  };
}

/** Somebody took files away. */
function damaged(path: string, name: string, manifest: ModelManifest, missing: string): ModelStatus {
  const error = new AdapterError("ArtifactInvalid", `${missing} is not there as it was downloaded: download the model again`, {
    retryable: true,
  });
  return { ...ready(path, name, manifest), state: "Failed", error: errorDetail(error) };
}

function suffixesOf(suffixes: readonly string[]): { allow_file_suffix?: string[] } {
  return suffixes.length === 0 ? {} : { allow_file_suffix: [...suffixes] };
}

import { createHash } from "node:crypto";
import { type CheckReport, parseArtifactUrl } from "@aibrix/api";
import { deadline } from "@aibrix/service";
import pLimit from "p-limit";
import type { Egress } from "../../egress/egress.ts";
import { AdapterError, errorDetail, RequestError } from "../../errors.ts";
import { unpacked } from "../archive/unpack.ts";
import { described, list } from "../artifacts.ts";
import { checkPin } from "../pin.ts";
import { knownKeys } from "../sources/credentials.ts";
import { openSource } from "../sources/open.ts";
import { hashFiles, listFolder } from "../sources/path.ts";
import type { Credentials, Listing, RemoteFile, Source } from "../sources/source.ts";
import { contentDigest } from "../store/store.ts";
import { retried, timeoutError } from "../transfer/retry.ts";
import { storageError } from "../transfer/storage-error.ts";
import type { Transfers } from "../transfer/transfers.ts";
import { type AdapterFacts, inspectAdapter } from "./adapter.ts";
import { MAX_CONFIG_BYTES } from "./config.ts";
import { type AdapterFile, localFile } from "./files.ts";
import { checkFit, doubts, type EngineFacts } from "./fit.ts";
import { remoteFile } from "./remote-file.ts";
import { CONFIG_FILE, selectFiles } from "./select.ts";

/** Checks at once, and how many more may wait: each may hold a header of 32 MiB, or fill a disk. */
const PARALLEL = 2;
const WAITING = 8;
/** Time for a check that reads headers only, and for one that reads everything, in milliseconds. */
const TIMEOUT_MS = { shallow: 60_000, deep: 600_000 } as const;

export interface CheckOptions {
  readonly url: string;
  readonly credentials: Credentials;
  /** Hosts that the credentials may go to, where their Secret names some. */
  readonly credentialsHosts?: readonly string[] | undefined;
  /** Read every byte. */
  readonly deep: boolean;
  readonly engine: EngineFacts;
  /** Further warnings about what an adapter was trained on. */
  readonly warn?: (trainedOn: string | undefined) => string | undefined;
  /** Bytes of a deep check so far, and in all. */
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
}

/** Where the files of a deep check are for as long as it lasts. */
export interface Folders {
  newFolder(): Promise<string>;
  discard(folder: string): Promise<void>;
}

type Report = { -readonly [K in keyof CheckReport]: CheckReport[K] };
type Hashed = RemoteFile & { readonly sha256?: string };

/** Tells what a load would find of an artifact. Nothing of it stays here. */
export class Checks {
  readonly #env: NodeJS.ProcessEnv;
  readonly #folders: Folders;
  readonly #egress: Egress;
  readonly #transfers: Transfers;
  readonly #limit = pLimit(PARALLEL);

  constructor(deps: {
    readonly env: NodeJS.ProcessEnv;
    readonly folders: Folders;
    readonly egress: Egress;
    readonly transfers: Transfers;
  }) {
    this.#env = deps.env;
    this.#folders = deps.folders;
    this.#egress = deps.egress;
    this.#transfers = deps.transfers;
  }

  /**
   * Whatever is wrong with the artifact or its storage is in the report.
   *
   * @throws RequestError 429 where too many checks wait; the reason of `signal` once it aborts
   */
  async run(options: CheckOptions, signal: AbortSignal): Promise<CheckReport> {
    if (this.#limit.pendingCount >= WAITING)
      throw new RequestError(429, "TooManyRequests", `${WAITING} checks wait already: ask again when some are done`);
    return await this.#limit(() => this.#run(options, signal));
  }

  async #run(options: CheckOptions, signal: AbortSignal): Promise<CheckReport> {
    const { url, deep, engine } = options;
    const compared = {
      ...(engine.maxLoraRank === undefined ? {} : { max_lora_rank: engine.maxLoraRank }),
      ...(engine.base === undefined ? {} : { architecture: engine.base.architecture }),
    };
    const report: Report = { ok: false, artifact_url: url, files: [], total_bytes: 0, compared_with: compared, deep, warnings: [] };
    const timeoutMs = deep ? TIMEOUT_MS.deep : TIMEOUT_MS.shallow;
    const limit = deadline(timeoutMs, signal);
    try {
      const facts = await this.#read(options, report, limit);
      describe(report, facts);
      const warning = options.warn?.(facts.config.baseModel);
      const { kind, sha256: pin } = parseArtifactUrl(url);
      const isArchive = kind === "http"; // Its own hash counts as well: it was compared where that was at hand.
      if (report.content_digest !== undefined && !isArchive) checkPin(url, pin, [report.content_digest]);
      const unpinned = pin !== undefined && report.content_digest === undefined ? ["the pin was not compared: a deep check does that"] : [];
      report.warnings = [...(warning === undefined ? [] : [warning]), ...unpinned, ...doubts(facts, engine)];
      checkFit(facts, engine);
      report.ok = true;
    } catch (error) {
      signal.throwIfAborted();
      const known = limit.aborted
        ? new AdapterError("ArtifactUnavailable", `${url} was not read within ${timeoutMs / 1000} s: check the network, and try again`, {
            cause: timeoutError(),
          })
        : storageError(error);
      if (!(known instanceof AdapterError)) throw known;
      report.error = errorDetail(known);
    }
    return report;
  }

  async #read(options: CheckOptions, report: Report, signal: AbortSignal): Promise<AdapterFacts> {
    const { url, credentials, credentialsHosts, deep } = options;
    const artifact = parseArtifactUrl(url);
    if (artifact.kind === "path") {
      const { path } = artifact;
      const files = selectFiles(await listFolder(path), url);
      tell(report, files);
      const facts = await inspectAdapter(await Promise.all(files.map((f) => localFile(path, f.name))), signal);
      if (deep)
        tell(
          report,
          (await hashFiles(path, files, signal)).map((f) => ({ ...f, etag: "" })),
        );
      return facts;
    }
    const secret = { keys: knownKeys(credentials), hosts: credentialsHosts };
    const source = await openSource(artifact, secret, { env: this.#env, egress: this.#egress });
    try {
      const listed = await retried(() => list(source, url, signal), signal);
      const listing =
        listed.archive === undefined ? await described(source, { ...listed, files: selectFiles(listed.files, url) }, url, signal) : listed;
      if (listing.revision !== undefined) report.resolved_revision = listing.revision;
      tell(report, listing.files);
      // Of an archive nothing is known before all of it is here.
      report.deep ||= listing.archive !== undefined;
      return deep || listing.archive !== undefined
        ? await this.#whole(source, listing, options, report, signal)
        : await headers(source, listing, report, signal);
    } finally {
      source.close?.();
    }
  }

  /** Fetches everything to a folder that is gone afterwards. */
  async #whole(
    source: Source,
    listing: Listing,
    { url, onProgress }: CheckOptions,
    report: Report,
    signal: AbortSignal,
  ): Promise<AdapterFacts> {
    const folder = await this.#folders.newFolder();
    const notes = await this.#folders.newFolder();
    try {
      const of = { url, source, listing, fingerprint: "", folder: { files: folder, notes } };
      const fetched = await this.#transfers.fetch(of, ({ bytes, totalBytes }) => onProgress?.(bytes, totalBytes), signal);
      const { files, at, archiveDigest } = await unpacked(url, listing, fetched, folder, signal);
      tell(
        report,
        files.map((f) => ({ ...f, etag: "" })),
      );
      if (listing.archive !== undefined) checkPin(url, parseArtifactUrl(url).sha256, [contentDigest(files), ...archiveDigest]);
      return await inspectAdapter(await Promise.all(files.map((f) => localFile(at, f.name))), signal);
    } finally {
      await this.#folders.discard(folder);
      await this.#folders.discard(notes);
    }
  }
}

/** Reads the configuration, and of weights the beginning only. */
async function headers(source: Source, listing: Listing, report: Report, signal: AbortSignal): Promise<AdapterFacts> {
  const hashes = new Map<string, string>();
  const files = listing.files.map((file): AdapterFile => {
    const remote = remoteFile(source, listing, file);
    if (file.name !== CONFIG_FILE || file.sizeBytes > MAX_CONFIG_BYTES) return remote;
    return {
      ...remote,
      read: async (start, end, s) => {
        const bytes = await remote.read(start, end, s);
        if (bytes.length === file.sizeBytes) hashes.set(file.name, createHash("sha256").update(bytes).digest("hex"));
        return bytes;
      },
    };
  });
  const facts = await inspectAdapter(files, signal);
  tell(
    report,
    listing.files.map((f) => {
      const sha256 = f.sha256 ?? hashes.get(f.name);
      return sha256 === undefined ? f : { ...f, sha256 };
    }),
  );
  return facts;
}

function tell(report: Report, files: readonly Hashed[]): void {
  report.files = files.map((f) => ({ name: f.name, size_bytes: f.sizeBytes, ...(f.sha256 === undefined ? {} : { sha256: f.sha256 }) }));
  report.total_bytes = files.reduce((sum, f) => sum + f.sizeBytes, 0);
  const hashed = files.flatMap(({ name, sizeBytes, sha256 }) => (sha256 === undefined ? [] : [{ name, sizeBytes, sha256 }]));
  if (hashed.length === files.length && files.length > 0) report.content_digest = contentDigest(hashed);
}

function describe(report: Report, { config, maxRank, modules, dtypes, tensors }: AdapterFacts): void {
  const targets = new Set(modules.map(({ path }) => path.slice(path.lastIndexOf(".") + 1)));
  Object.assign(report, {
    rank: config.rank,
    max_rank: maxRank,
    target_modules: [...targets].sort(),
    dtypes: [...dtypes],
    tensors,
    ...(config.baseModel === undefined ? {} : { base_model: config.baseModel }),
  });
}

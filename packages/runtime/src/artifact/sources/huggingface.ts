import type { Readable } from "node:stream";
import { SECRET_KEYS } from "@aibrix/api";
import type { Egress } from "../../egress/egress.ts";
import { AdapterError, HttpAnswer } from "../../errors.ts";
import { checkRecipient, type Secret } from "./credentials.ts";
import { checkPaths } from "./names.ts";
import { type ByteRange, type Listing, MAX_PAGES, NoRanges, type RemoteFile, type Source, tooLong } from "./source.ts";
import { ask, clip, isPassing } from "./web.ts";

const DEFAULT_ENDPOINT = "https://huggingface.co";

interface TreeEntry {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  readonly oid?: string;
  readonly lfs?: { readonly oid: string; readonly size: number };
}

/**
 * A repository on the Hugging Face Hub, or on a server with its API.
 *
 * The three calls are made by hand instead of with @huggingface/hub: that client gives a file as a lazy Blob, follows redirects itself (so the
 * caller cannot see to which host a token goes), and leaves neither the deadlines nor the hash over the stream to us.
 */
export class HuggingFaceSource implements Source {
  readonly #endpoint: string;
  readonly #token: string | undefined;
  readonly #repo: string;
  readonly #revision: string;
  readonly #folder: string;
  readonly #egress: Egress;
  readonly #nested: boolean;

  /**
   * @param env - `HF_ENDPOINT` and `HF_TOKEN` are read
   * @param nested - list what is in folders, too
   * @throws AdapterError where the Secret may not go to the Hub
   */
  constructor(
    artifact: { readonly repo: string; readonly revision: string | undefined; readonly path: string },
    secret: Secret,
    env: NodeJS.ProcessEnv,
    egress: Egress,
    nested = false,
  ) {
    this.#endpoint = (env.HF_ENDPOINT || DEFAULT_ENDPOINT).replace(/\/+$/, "");
    const token = secret.keys[SECRET_KEYS.huggingfaceToken];
    this.#token = token || env.HF_TOKEN || undefined;
    this.#repo = artifact.repo;
    this.#revision = artifact.revision ?? "main";
    this.#folder = artifact.path === "" ? "" : `${artifact.path}/`;
    this.#egress = egress;
    this.#nested = nested;
    if (token) checkRecipient(secret, new URL(this.#endpoint), true);
  }

  async list(signal: AbortSignal): Promise<Listing> {
    const info = (await this.#json(`/api/models/${this.#repo}/revision/${encodeURIComponent(this.#revision)}`, signal)).body as {
      readonly sha?: unknown;
    } | null;
    if (typeof info?.sha !== "string") throw unavailable(`${this.#endpoint} gave no commit for ${this.#what()}: check HF_ENDPOINT`);
    const revision = info.sha;
    const files: RemoteFile[] = [];
    let next: string | undefined =
      `/api/models/${this.#repo}/tree/${revision}${encoded(`/${this.#folder}`.replace(/\/$/, ""))}${this.#nested ? "?recursive=true" : ""}`;
    let entries = 0;
    for (let page = 0; next !== undefined; page += 1) {
      if (page === MAX_PAGES) throw tooLong(this.#what(), { entries, files: files.length });
      const answer = await this.#json(next, signal);
      if (!Array.isArray(answer.body)) throw unavailable(`${this.#endpoint} gave no list of files for ${this.#what()}: check HF_ENDPOINT`);
      for (const entry of answer.body as readonly TreeEntry[]) {
        const name = entry.path.slice(this.#folder.length);
        if (entry.type === "file" && entry.path.startsWith(this.#folder) && (this.#nested || !name.includes("/")))
          files.push(remoteFile(entry, name));
      }
      entries += answer.body.length;
      next = answer.next;
    }
    if (this.#nested) checkPaths(files, this.#what());
    return { revision, files };
  }

  async read(listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    const path = `/${this.#repo}/resolve/${listing.revision ?? this.#revision}/${encoded(this.#folder + file.name)}`;
    const { body, headers } = await this.#get(path, signal, range);
    if (range !== undefined && !String(headers["content-range"]).startsWith(`bytes ${range.start}-${range.end - 1}/`)) {
      body.destroy();
      throw new NoRanges(`${this.#endpoint} sent another part of ${file.name} than asked for (${clip(headers["content-range"])})`);
    }
    return body;
  }

  async #json(path: string, signal: AbortSignal): Promise<{ readonly body: unknown; readonly next: string | undefined }> {
    const { body, headers } = await this.#get(path, signal);
    try {
      return { body: await body.json(), next: nextPage(headers.link) };
    } catch (error) {
      if (signal.aborted) throw error;
      throw unavailable(`${this.#endpoint} answered with something else than JSON for ${this.#what()}: check HF_ENDPOINT`, error);
    }
  }

  /** Follows redirects; the token goes to the endpoint's own origin only. */
  async #get(path: string, signal: AbortSignal, range?: ByteRange) {
    const home = new URL(this.#endpoint);
    const first = path.startsWith("/") ? new URL(`${this.#endpoint}${path}`) : new URL(path, home);
    const call = {
      headers: range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` },
      authorization: first.origin === home.origin && this.#token !== undefined ? `Bearer ${this.#token}` : undefined,
      what: this.#what(),
      hint: "the network and HF_ENDPOINT",
    };
    const { response, url } = await ask(this.#egress, first, call, signal);
    const { statusCode: status, headers, body } = response;
    if (status === (range === undefined ? 200 : 206)) return response;
    if (status === 200) {
      body.on("error", () => undefined).destroy();
      throw new NoRanges(`${url.origin} does not give parts of files (it ignored a Range header) for ${this.#what()}`);
    }
    const text = await body.text().catch(() => "");
    throw this.#refused(status, { code: headers["x-error-code"], message: headers["x-error-message"], text });
  }

  #refused(status: number, error: { readonly code: unknown; readonly message: unknown; readonly text: string }): AdapterError {
    const at = `on ${this.#endpoint}`;
    const options = { cause: new HttpAnswer(status) };
    const denied = (message: string) => new AdapterError("ArtifactDenied", message, options);
    const notFound = (message: string) => new AdapterError("ArtifactNotFound", message, options);
    if (error.code === "GatedRepo" || status === 403)
      return denied(
        `${this.#what()} ${at} is gated: ask for access on its page, and give a token that has it (credentialsSecretRef with ${SECRET_KEYS.huggingfaceToken}, or HF_TOKEN)`,
      );
    if (error.code === "RevisionNotFound")
      return notFound(`${this.#what()} has no revision "${this.#revision}" ${at}: write a branch, tag or commit that exists`);
    if (error.code === "EntryNotFound" && this.#folder !== "")
      return notFound(`${this.#what()} has no folder "${this.#folder.slice(0, -1)}" ${at}, or a file of it vanished: check its spelling`);
    if (error.code === "EntryNotFound") return notFound(`a file of ${this.#what()} vanished ${at}: ${clip(error.message)}`);
    // The Hub answers 401 for a repository that does not exist, too, so as not to tell which private ones do.
    if (error.code === "RepoNotFound" || status === 404)
      return notFound(
        `${this.#what()} does not exist ${at}, or is private: check its spelling${this.#token === undefined ? `, or give a token (credentialsSecretRef with ${SECRET_KEYS.huggingfaceToken}, or HF_TOKEN)` : ", and whether the token may read it"}`,
      );
    if (status === 401)
      return denied(
        this.#token === undefined
          ? `${this.#what()} ${at} wants a token: give one (credentialsSecretRef with ${SECRET_KEYS.huggingfaceToken}, or HF_TOKEN)`
          : `${at.replace("on ", "")} refused the token for ${this.#what()}: give one that is valid`,
      );
    return new AdapterError(
      "ArtifactUnavailable",
      `${this.#endpoint} answered HTTP ${status} for ${this.#what()}: ${clip(error.message ?? error.text)}`,
      { retryable: isPassing(status), ...options },
    );
  }

  #what(): string {
    return `huggingface://${this.#repo}`;
  }
}

/** A path for a URL: its segments are escaped, its slashes stay. */
function encoded(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function remoteFile(entry: TreeEntry, name: string): RemoteFile {
  return {
    name,
    sizeBytes: entry.lfs?.size ?? entry.size,
    etag: entry.lfs?.oid ?? entry.oid ?? "",
    ...(entry.lfs === undefined ? gitDigest(entry.oid) : { sha256: entry.lfs.oid.replace(/^sha256:/, "") }),
  };
}

/** What is not in LFS is a blob of git, whose id is a hash over the content. */
function gitDigest(oid: string | undefined): Pick<RemoteFile, "digests"> {
  return oid !== undefined && /^[0-9a-f]{40}$/.test(oid) ? { digests: [{ algorithm: "git-sha1", hex: oid }] } : {};
}

/** The next page's URL in a `Link` header (RFC 8288). */
function nextPage(link: string | string[] | undefined): string | undefined {
  return /<([^>]+)>\s*;[^,]*rel="?next"?/.exec([link ?? []].flat().join(","))?.[1];
}

function unavailable(message: string, cause?: unknown): AdapterError {
  return new AdapterError("ArtifactUnavailable", message, { cause });
}

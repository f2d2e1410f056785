import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ContentFilesSchema, RUNTIME_PATHS } from "@aibrix/api";
import { Value } from "typebox/value";
import { Agent, type Dispatcher, request } from "undici";
import { AdapterError, HttpAnswer, messageOf, networkCode } from "../../errors.ts";
import { readToken } from "../../token-file.ts";
import { contentDigest } from "../store/store.ts";
import { type ByteRange, type Listing, NoRanges, type RemoteFile, type Source } from "./source.ts";
import { clip, isPassing } from "./web.ts";

const CONNECT_TIMEOUT_MS = 5_000;
/** Longest silence of another sidecar, in milliseconds. */
const IDLE_TIMEOUT_MS = 30_000;
/** Longest list of files. */
const MAX_LIST_BYTES = 1024 * 1024;
/** Requests of one download that one sidecar has at once: half of what it gives, so that another pod gets its part. */
const AT_ONCE = 4;
/** How often one that gives to others already is asked again, and how long it is waited for each time, in milliseconds. */
const [BUSY_TIMES, BUSY_MIN_MS, BUSY_MAX_MS] = [20, 500, 1_500];

/** The way to the sidecars of other pods: by their addresses, with this sidecar's own token, past every proxy, and never where they redirect. */
export class Peers {
  readonly #tokenFile: string;
  readonly #dispatcher = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: IDLE_TIMEOUT_MS,
    bodyTimeout: IDLE_TIMEOUT_MS,
    allowH2: false,
  });

  /** @param tokenFile - `--token-file`, which the others were started with as well */
  constructor(tokenFile: string) {
    this.#tokenFile = tokenFile;
  }

  /**
   * A content as another pod's sidecar gives it.
   *
   * @param url - its base URL, `http://10.0.0.5:8080`
   */
  source(url: string, digest: string): PeerSource {
    return new PeerSource(url, digest, this.#tokenFile, this.#dispatcher);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

class PeerSource implements Source {
  readonly url: string;
  readonly #digest: string;
  readonly #tokenFile: string;
  readonly #dispatcher: Dispatcher;
  readonly connections = AT_ONCE;

  constructor(url: string, digest: string, tokenFile: string, dispatcher: Dispatcher) {
    this.url = url;
    this.#digest = digest;
    this.#tokenFile = tokenFile;
    this.#dispatcher = dispatcher;
  }

  /** @throws AdapterError `ArtifactInvalid` for a list that is not that of the content */
  async list(signal: AbortSignal): Promise<Listing> {
    const { statusCode, body } = await this.#ask(RUNTIME_PATHS.content, {}, {}, signal);
    if (statusCode !== 200) throw await this.#refused(statusCode, body, "the content");
    const text = await bounded(body).catch((error: unknown) => {
      throw signal.aborted ? error : this.#silent(error);
    });
    const listed = parsed(text);
    const files = Value.Check(ContentFilesSchema, listed)
      ? listed.files.map(({ name, size_bytes: sizeBytes, sha256 }) => ({ name, sizeBytes, sha256, etag: sha256 }))
      : [];
    // Whoever lists other files gives another content.
    if (contentDigest(files) !== this.#digest)
      throw new AdapterError("ArtifactInvalid", `${this.url} lists other files than those of the content`);
    return { files };
  }

  async read(_listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
    for (let times = BUSY_TIMES; ; times -= 1) {
      const answer = await this.#ask(RUNTIME_PATHS.contentFile, { name: file.name }, headers, signal);
      const { statusCode, body } = answer;
      if (statusCode === 503 && answer.headers["retry-after"] !== undefined && times > 0) {
        await body.dump();
        await sleep(BUSY_MIN_MS + Math.random() * (BUSY_MAX_MS - BUSY_MIN_MS), undefined, { signal });
        continue;
      }
      const part = range === undefined ? undefined : `bytes ${range.start}-${range.end - 1}/${file.sizeBytes}`;
      if (statusCode === (part === undefined ? 200 : 206) && (part === undefined || answer.headers["content-range"] === part)) return body;
      if (statusCode !== 200 && statusCode !== 206) throw await this.#refused(statusCode, body, file.name);
      body.on("error", () => undefined).destroy();
      throw new NoRanges(`${this.url} does not give the part of ${file.name} that was asked for`);
    }
  }

  async #ask(path: string, parts: { readonly name?: string }, headers: Readonly<Record<string, string>>, signal: AbortSignal) {
    const { token, error } = await readToken(this.#tokenFile);
    if (token === "")
      throw new AdapterError(
        "ArtifactUnavailable",
        `the runtime cannot read a token from --token-file=${this.#tokenFile}: mount the Secret there`,
        {
          cause: error,
        },
      );
    const url = this.url + path.replace("{digest}", this.#digest).replace("{name}", encodeURIComponent(parts.name ?? ""));
    try {
      return await request(url, {
        dispatcher: this.#dispatcher,
        signal,
        headers: { "user-agent": "aibrix-runtime", authorization: `Bearer ${token}`, ...headers },
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw this.#silent(error);
    }
  }

  #silent(error: unknown): AdapterError {
    return new AdapterError("ArtifactUnavailable", `${this.url} does not answer (${networkCode(error) ?? clip(messageOf(error))})`, {
      cause: error,
    });
  }

  async #refused(status: number, body: Dispatcher.ResponseData["body"], what: string): Promise<AdapterError> {
    body.on("error", () => undefined).destroy();
    const cause = new HttpAnswer(status);
    if (status === 404) return new AdapterError("ArtifactNotFound", `${this.url} does not have ${what}`, { cause });
    if (status === 401)
      return new AdapterError("ArtifactDenied", `${this.url} wants another token: give all sidecars the same --token-file`, { cause });
    if (status === 403) return new AdapterError("ArtifactDenied", `${this.url} was started without --token-file`, { cause });
    return new AdapterError("ArtifactUnavailable", `${this.url} answered HTTP ${status} for ${what}`, {
      retryable: isPassing(status),
      cause,
    });
  }
}

async function bounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > MAX_LIST_BYTES) throw new Error(`an answer of more than ${MAX_LIST_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // No list at all.
  }
}

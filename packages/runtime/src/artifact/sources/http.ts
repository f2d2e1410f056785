import type { Readable } from "node:stream";
import { type ArchiveKind, SECRET_KEYS } from "@aibrix/api";
import type { Egress } from "../../egress/egress.ts";
import { AdapterError, HttpAnswer } from "../../errors.ts";
import { checkRecipient, type Secret } from "./credentials.ts";
import { type ByteRange, type Listing, NoRanges, type RemoteFile, type Source, SourceChanged } from "./source.ts";
import { ask, isPassing, type WebResponse } from "./web.ts";

/** One archive on a web server. */
export class HttpSource implements Source {
  readonly #url: URL;
  readonly #archive: ArchiveKind;
  readonly #authorization: string | undefined;
  readonly #egress: Egress;

  /** @throws AdapterError where the Secret cannot be used, or not at this host */
  constructor(artifact: { readonly url: string; readonly archive: ArchiveKind }, secret: Secret, egress: Egress) {
    this.#url = new URL(artifact.url);
    this.#archive = artifact.archive;
    this.#authorization = authorizationOf(secret);
    this.#egress = egress;
    // There is no host that such a Secret means by its kind.
    if (this.#authorization !== undefined) checkRecipient(secret, this.#url, false);
  }

  async list(signal: AbortSignal): Promise<Listing> {
    // Some servers answer to GET only, signed links for example: there the body is left unread.
    let response = await this.#ask("HEAD", {}, signal);
    if (response.statusCode !== 200) {
      await response.body.dump();
      response = await this.#ask("GET", {}, signal);
    }
    const { statusCode: status, headers } = response;
    response.body.on("error", () => undefined).destroy();
    if (status !== 200) throw this.#refused(status);
    const length = first(headers["content-length"]);
    if (length === undefined || !/^\d+$/.test(length))
      throw new AdapterError(
        "ArtifactUnavailable",
        `${this.#url.origin} does not say how long ${this.#url} is (Content-Length is missing): serve the archive as a plain file`,
        { retryable: false },
      );
    const etag = validatorOf(headers);
    const file = { name: `artifact.${this.#archive}`, sizeBytes: Number(length), etag, ...(tellsBytes(etag) ? {} : { asWhole: true }) };
    return { files: [file], archive: this.#archive };
  }

  async read(_listing: Listing, file: RemoteFile, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable> {
    // Where parts of two contents could be joined the whole is asked for, which shows as well whether that may be read.
    const asked = tellsBytes(file.etag) ? range : undefined;
    const headers = {
      ...conditionOf(file.etag),
      ...(asked === undefined ? {} : { range: `bytes=${asked.start}-${asked.end - 1}` }),
    };
    const response = await this.#ask("GET", headers, signal);
    const { body } = response;
    const complaint = this.#complaint(response, file, range);
    if (complaint === undefined) return body;
    body.on("error", () => undefined).destroy();
    throw complaint;
  }

  async #ask(method: "GET" | "HEAD", headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<WebResponse> {
    const call = { method, headers, authorization: this.#authorization, what: String(this.#url), hint: "the artifactURL and the network" };
    return (await ask(this.#egress, this.#url, call, signal)).response;
  }

  /** What keeps an answer from being the bytes that were asked for. */
  #complaint({ statusCode: status, headers }: WebResponse, file: RemoteFile, range: ByteRange | undefined): AdapterError | undefined {
    const changed = () => new SourceChanged(`${this.#url} changed while it was read: it is read again`);
    if (status === 412) return changed();
    if (status !== 200 && status !== 206) return this.#refused(status);
    // Not every server heeds a condition.
    if (validatorOf(headers) !== file.etag) return changed();
    if (range === undefined)
      return status === 200
        ? undefined
        : new AdapterError("ArtifactUnavailable", `${this.#url.origin} sent a part of ${this.#url} where the whole was asked for`);
    const given = first(headers["content-range"])?.trim();
    if (status === 206 && given === `bytes ${range.start}-${range.end - 1}/${file.sizeBytes}`) return undefined;
    return new NoRanges(`${this.#url.origin} does not give parts of files (it ignored a Range header) for ${this.#url}`);
  }

  #refused(status: number): AdapterError {
    const cause = new HttpAnswer(status);
    const keys = `${SECRET_KEYS.httpBearerToken}, or ${SECRET_KEYS.httpUsername} and ${SECRET_KEYS.httpPassword}`;
    if (status === 404 || status === 410)
      return new AdapterError("ArtifactNotFound", `${this.#url} does not exist (HTTP ${status}): check the artifactURL`, { cause });
    if (status === 401 || status === 403)
      return new AdapterError(
        "ArtifactDenied",
        this.#authorization === undefined
          ? `${this.#url.origin} wants credentials for ${this.#url} (HTTP ${status}): set credentialsSecretRef to a Secret with ${keys}, and its annotation model.aibrix.ai/allowed-hosts to ${this.#url.hostname}`
          : `${this.#url.origin} refused the credentials for ${this.#url} (HTTP ${status}): give some that are valid (${keys})`,
        { cause },
      );
    return new AdapterError("ArtifactUnavailable", `${this.#url.origin} answered HTTP ${status} for ${this.#url}`, {
      retryable: isPassing(status),
      cause,
    });
  }
}

/**
 * The `Authorization` header that a Secret gives, if any.
 *
 * @throws AdapterError `ArtifactDenied` for one that says both or half
 */
export function authorizationOf({ keys }: Secret): string | undefined {
  const token = keys[SECRET_KEYS.httpBearerToken]?.trim();
  const username = keys[SECRET_KEYS.httpUsername];
  const password = keys[SECRET_KEYS.httpPassword];
  if (token && (username !== undefined || password !== undefined))
    throw denied(
      `the Secret has ${SECRET_KEYS.httpBearerToken} and ${SECRET_KEYS.httpUsername} or ${SECRET_KEYS.httpPassword}: keep one kind`,
    );
  if ((username === undefined) !== (password === undefined))
    throw denied(`the Secret has only one of ${SECRET_KEYS.httpUsername} and ${SECRET_KEYS.httpPassword}: write both`);
  if (username !== undefined && password !== undefined) {
    if (username.includes(":")) throw denied(`${SECRET_KEYS.httpUsername} has a colon, which basic authentication cannot carry`);
    return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
  }
  if (!token) return undefined;
  if (!/^[\x21-\x7e]+$/.test(token)) throw denied(`${SECRET_KEYS.httpBearerToken} has characters that no token has: write the bare token`);
  return `Bearer ${token}`;
}

type Headers = WebResponse["headers"];

/** What changes with the content, as the server tells it: a strong ETag, else the time of the last change, else an ETag that is weak. */
function validatorOf(headers: Headers): string {
  const etag = first(headers.etag) ?? "";
  return etag !== "" && !etag.startsWith("W/") ? etag : (first(headers["last-modified"]) ?? etag);
}

/** Whether two answers with this validator are of the same bytes: a weak ETag promises the same meaning only, and none promises nothing. */
function tellsBytes(validator: string): boolean {
  return validator !== "" && !validator.startsWith("W/");
}

/** Makes the server answer 412 where the content is no longer the one with this validator. */
function conditionOf(validator: string): Readonly<Record<string, string>> {
  if (!tellsBytes(validator)) return {};
  return validator.startsWith('"') ? { "if-match": validator } : { "if-unmodified-since": validator };
}

function first(value: string | string[] | undefined): string | undefined {
  return [value ?? []].flat()[0];
}

function denied(message: string): AdapterError {
  return new AdapterError("ArtifactDenied", message);
}

import { MAX_HEADER_LIST_BYTES } from "../transport.ts";
import { type HeaderField, sizeOf } from "./hpack.ts";

/** Headers that a request of HTTP/2 may not have: they are about a connection of HTTP/1.1 (RFC 9113, section 8.2.2). */
const OF_CONNECTIONS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** What one header block says, as far as a server of gRPC needs it. */
export class RequestHeaders {
  method: string | undefined;
  path: string | undefined;
  contentType = "";
  /** Why the block is malformed, if it is. */
  malformed: string | undefined;
  tooLarge = false;
  #scheme = false;
  #authority = false;
  #regular = false;
  #bytes = 0;

  add(field: HeaderField): void {
    this.#bytes += sizeOf(field);
    if (this.#bytes > MAX_HEADER_LIST_BYTES) this.tooLarge = true;
    const { name } = field;
    if (!field.valid) this.malformed = "a header's name or value has characters that none may have";
    else if (name.charCodeAt(0) === 0x3a) this.#pseudo(name, field.value);
    else {
      this.#regular = true;
      if (name === "content-type") this.contentType = field.value;
      else if (name === "te" ? field.value !== "trailers" : OF_CONNECTIONS.has(name)) this.malformed = `the header ${name}`;
    }
  }

  /** Looks at a request's headers as a whole. */
  finish(): this {
    if (this.method === undefined || this.path === undefined || !this.#scheme) this.malformed ??= "a header of every request is missing";
    return this;
  }

  /** Looks at trailers as a whole. */
  finishTrailers(): this {
    if (this.method !== undefined || this.path !== undefined || this.#scheme || this.#authority)
      this.malformed ??= "trailers with a pseudo-header";
    return this;
  }

  #pseudo(name: string, value: string): void {
    const twice =
      (name === ":method" && this.method !== undefined) ||
      (name === ":path" && this.path !== undefined) ||
      (name === ":scheme" && this.#scheme) ||
      (name === ":authority" && this.#authority);
    if (twice || this.#regular) this.malformed = `${name} stands twice or behind other headers`;
    else if (name === ":method") this.method = value;
    else if (name === ":path") this.path = value;
    else if (name === ":scheme") this.#scheme = true;
    else if (name === ":authority") this.#authority = true;
    else this.malformed = "an unknown pseudo-header";
  }
}

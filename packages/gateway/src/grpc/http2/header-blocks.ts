import { HpackDecoder } from "./hpack.ts";
import { RequestHeaders } from "./request-headers.ts";

/** A longer block is not remembered, in bytes. */
const MAX_REMEMBERED_BYTES = 512;

interface Known {
  readonly block: Buffer;
  /** Of the table. */
  readonly changes: number;
  readonly headers: RequestHeaders;
}

/**
 * Reads the header blocks of one connection. A client that makes the same call again and again, as Envoy does, sends the same bytes each time
 * once its table is full: such a block is not decoded again.
 */
export class HeaderBlocks {
  readonly #hpack = new HpackDecoder();
  #known: Known | undefined;

  /**
   * The headers of a request. Those of several requests may be one object.
   *
   * @throws ConnectionError for bytes that are no header block; the connection cannot go on
   */
  request(block: Buffer): RequestHeaders {
    const { changes } = this.#hpack;
    if (this.#known?.changes === changes && this.#known.block.equals(block)) return this.#known.headers;
    const headers = this.#decode(block).finish();
    // A block that changes the table has to do so each time.
    if (this.#hpack.changes === changes && block.length <= MAX_REMEMBERED_BYTES) {
      this.#known = { block: Buffer.from(block), changes, headers };
    }
    return headers;
  }

  /**
   * Trailers, or headers of which nothing is wanted but what they do to the table.
   *
   * @throws ConnectionError as {@link HeaderBlocks.request}
   */
  trailers(block: Buffer): RequestHeaders {
    return this.#decode(block).finishTrailers();
  }

  #decode(block: Buffer): RequestHeaders {
    const headers = new RequestHeaders();
    this.#hpack.decode(block, (field) => headers.add(field));
    return headers;
  }
}

/** Bytes that the lines before a page may have. */
const MAX_HEAD_BYTES = 64 * 1024;

/** Bytes that a line between two chunks may have. */
const MAX_LINE_BYTES = 1_024;

const END_OF_HEAD = Buffer.from("\r\n\r\n");
const NEWLINE = 0x0a;
const NOTHING = Buffer.alloc(0);

/** What came of a page. */
export interface Page {
  /** Of HTTP. */
  readonly status: number;
  /** Valid until the next call of the reader. */
  readonly body: Buffer;
  /** Whether the connection can be used for another page. */
  readonly reusable: boolean;
}

/** Where the bytes stand that come next. */
type Place = "head" | "length" | "size" | "chunk" | "chunkEnd" | "trailers" | "toClose";

/**
 * Reads answers of HTTP/1.1 to GET requests that follow each other on one connection, and no more of HTTP than that takes: a body of a told
 * length, in chunks, or to the end of the connection (RFC 9112, section 6.3). A page that comes in one piece is not copied.
 */
export class PageReader {
  readonly #maxBytes: number;
  #place: Place = "head";
  /** Bytes that are not understood yet. */
  #rest: Buffer = NOTHING;
  #status = 0;
  #reusable = false;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** What is missing of the body, or of its chunk. */
  #missing = 0;

  /** @param maxBytes - a page with a longer body is refused */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether nothing of a page has come yet. */
  get isFresh(): boolean {
    return this.#place === "head" && this.#rest.length === 0 && this.#status === 0;
  }

  /**
   * Takes bytes of the connection. They may change afterwards.
   *
   * @returns the page, once it is whole
   * @throws Error for what is no such answer, or is too long
   */
  push(bytes: Buffer): Page | undefined {
    let from = 0;
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#rest = NOTHING;
    while (from <= all.length) {
      const next = this.#step(all, from);
      if (typeof next === "object") return next;
      if (next < 0) {
        if (from < all.length) this.#rest = Buffer.from(all.subarray(from));
        return undefined;
      }
      from = next;
    }
    return undefined;
  }

  /**
   * The connection has ended.
   *
   * @returns the page, where its end is that of the connection
   */
  end(): Page | undefined {
    return this.#place === "toClose" ? this.#whole(NOTHING, false) : undefined;
  }

  /** Understands what stands at `from`, and gives where it ends; less than 0 where that has not come. */
  #step(all: Buffer, from: number): Page | number {
    switch (this.#place) {
      case "head":
        return this.#head(all, from);
      case "length": {
        const end = from + this.#missing;
        if (end <= all.length) return this.#whole(all.subarray(from, end), this.#reusable && end === all.length);
        return this.#keep(all, from, all.length);
      }
      case "toClose":
        return this.#keep(all, from, all.length);
      case "chunk": {
        const end = Math.min(from + this.#missing, all.length);
        const nothingLeft = this.#keep(all, from, end);
        if (this.#missing > 0) return nothingLeft;
        this.#place = "chunkEnd";
        return end;
      }
      default:
        return this.#line(all, from);
    }
  }

  #head(all: Buffer, from: number): number {
    const end = all.indexOf(END_OF_HEAD, from);
    if (end === -1) {
      if (all.length - from > MAX_HEAD_BYTES) throw new Error("its headers have no end");
      return -1;
    }
    const [first = "", ...lines] = all.toString("latin1", from, end).split("\r\n");
    const [, minor, status] = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/.exec(first) ?? [];
    if (status === undefined) throw new Error("it does not answer by HTTP/1.1");
    const next = end + END_OF_HEAD.length;
    this.#status = Number(status);
    if (this.#status < 200) return next; // Interim: the answer follows.
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers.set(
        line.slice(0, colon).toLowerCase(),
        line
          .slice(colon + 1)
          .trim()
          .toLowerCase(),
      );
    }
    const connection = headers.get("connection") ?? "";
    this.#reusable = minor === "1" ? !connection.includes("close") : connection.includes("keep-alive");
    const coding = headers.get("transfer-encoding");
    const length = headers.get("content-length");
    if (this.#status === 204 || this.#status === 304) this.#expect("length", 0);
    else if (coding === "chunked") this.#place = "size";
    else if (coding !== undefined) throw new Error(`it answers in the transfer coding ${coding}`);
    else if (length === undefined) this.#place = "toClose";
    else if (/^\d{1,15}$/.test(length)) this.#expect("length", Number(length));
    else throw new Error("its content-length is no number");
    return next;
  }

  /** A line between chunks. */
  #line(all: Buffer, from: number): Page | number {
    const end = all.indexOf(NEWLINE, from);
    if (end === -1) {
      if (all.length - from > MAX_LINE_BYTES) throw new Error("its chunks cannot be read");
      return -1;
    }
    const line = all.toString("latin1", from, end).replace(/\r$/, "");
    const next = end + 1;
    if (this.#place === "size") {
      const [, size] = /^([0-9a-f]{1,8})[ \t]*(?:;|$)/i.exec(line) ?? [];
      if (size === undefined) throw new Error("its chunks cannot be read");
      const bytes = Number.parseInt(size, 16);
      if (bytes === 0) this.#place = "trailers";
      else this.#expect("chunk", bytes);
      return next;
    }
    if (this.#place === "chunkEnd") {
      if (line !== "") throw new Error("its chunks cannot be read");
      this.#place = "size";
      return next;
    }
    return line === "" ? this.#whole(NOTHING, this.#reusable && next === all.length) : next;
  }

  #expect(place: "length" | "chunk", bytes: number): void {
    this.#place = place;
    this.#missing = bytes;
    this.#bound(this.#bytes + bytes);
  }

  #bound(bytes: number): void {
    if (bytes > this.#maxBytes) throw new Error(`its page has more than ${this.#maxBytes} bytes`);
  }

  /** Keeps a part of the body, and gives a place behind all bytes: nothing of them is left. */
  #keep(all: Buffer, from: number, end: number): number {
    if (end > from) this.#parts.push(Buffer.from(all.subarray(from, end)));
    this.#bytes += end - from;
    this.#missing -= end - from;
    this.#bound(this.#bytes);
    return all.length + 1;
  }

  #whole(last: Buffer, reusable: boolean): Page {
    const body = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    const page = { status: this.#status, body, reusable };
    this.#place = "head";
    this.#status = 0;
    this.#parts = [];
    this.#bytes = 0;
    this.#missing = 0;
    return page;
  }
}

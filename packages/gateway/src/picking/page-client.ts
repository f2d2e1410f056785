import { connect, isIPv6, type Socket } from "node:net";
import { type Page, PageReader } from "./http-page.ts";

/** Every connection reads into this: what comes is looked at at once, and what is kept is copied. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

/** What a client of pages is told. */
export interface PageClientOptions {
  readonly path: string;
  /** How long a page may take, the connection included, in milliseconds. */
  readonly timeoutMs: number;
  /** A page with a longer body is refused. */
  readonly maxBytes: number;
}

interface Waiting {
  readonly take: (page: Page) => void;
  readonly fail: (error: Error) => void;
  /** Whether the connection had given a page before: its server may have ended it in the meantime. */
  readonly reused: boolean;
}

/**
 * Gets one page of one server again and again, over one connection that stays open. With nothing else to do than that it takes a fraction of
 * the time that a client for everything takes, which is spent beside the requests that the gateway is there for.
 */
export class PageClient {
  readonly #host: string;
  readonly #port: number;
  readonly #request: Buffer;
  readonly #options: PageClientOptions;
  #socket: Socket | undefined;
  #waiting: Waiting | undefined;
  #closed = false;

  /** @param address - `ip:port`, `[ip]:port` for IPv6 */
  constructor(address: string, options: PageClientOptions) {
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    this.#host = host;
    this.#port = Number(address.slice(colon + 1));
    this.#options = options;
    const authority = isIPv6(host) ? `[${host}]` : host;
    this.#request = Buffer.from(`GET ${options.path} HTTP/1.1\r\nhost: ${authority}:${this.#port}\r\naccept: text/plain\r\n\r\n`, "latin1");
  }

  /**
   * Gets the page. To be called when the one before has come.
   *
   * @param read - what to make of a page; its body is valid only while this runs
   * @throws Error where there is none in time, or it cannot be read
   */
  async get<T>(read: (page: Page) => T): Promise<T> {
    if (this.#closed) throw new Error("it is not asked any more");
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        const take = (page: Page): void => {
          try {
            resolve(read(page));
          } catch (error) {
            reject(error);
          }
        };
        timer = setTimeout(
          () => this.#drop(new Error(`it has not answered within ${this.#options.timeoutMs} ms`)),
          this.#options.timeoutMs,
        );
        this.#ask({ take, fail: reject, reused: this.#socket !== undefined });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the connection; a page that is waited for does not come. */
  close(): void {
    this.#closed = true;
    this.#drop(new Error("its connection is closed"));
  }

  #ask(waiting: Waiting): void {
    this.#waiting = waiting;
    this.#socket ??= this.#connect();
    this.#socket.write(this.#request);
  }

  #connect(): Socket {
    const reader = new PageReader(this.#options.maxBytes);
    const socket = connect({
      host: this.#host,
      port: this.#port,
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          if (socket !== this.#socket) return false;
          this.#guarded(reader, () => reader.push(READ_BUFFER.subarray(0, length)));
          return true;
        },
      },
    });
    socket.on("end", () => {
      if (socket === this.#socket) this.#guarded(reader, () => reader.end());
      if (socket === this.#socket) this.#drop(new Error("it has ended the connection"), reader);
    });
    socket.on("error", (error) => {
      if (socket === this.#socket) this.#drop(error, reader);
    });
    socket.on("close", () => {
      if (socket === this.#socket) this.#drop(new Error("the connection has ended"), reader);
    });
    return socket;
  }

  #guarded(reader: PageReader, read: () => Page | undefined): void {
    let page: Page | undefined;
    try {
      page = read();
    } catch (error) {
      this.#drop(error as Error);
      return;
    }
    if (page === undefined) {
      if (this.#waiting === undefined && !reader.isFresh) this.#drop(new Error("it says something unasked"));
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!page.reusable || waiting === undefined) this.#drop(new Error("it says something unasked"));
    waiting?.take(page);
  }

  /**
   * Ends the connection.
   *
   * @param reader - where the other end did so. An end that had answered before, and of whose next answer nothing had come, is asked anew: it
   *   had only been left alone for too long
   */
  #drop(error: Error, reader?: PageReader): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    if (waiting === undefined) return;
    if (waiting.reused && reader?.isFresh === true) this.#ask({ ...waiting, reused: false });
    else waiting.fail(error);
  }
}

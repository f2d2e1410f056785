import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A proxy in front of a server that lets so much of what is downloaded pass, and then holds all of it back until it is opened. */
export interface GatedProxy {
  readonly url: string;
  /** Bytes of bodies that were let through since the last call of `hold` or `open`. */
  readonly passed: () => number;
  /** Lets this many more bytes pass. */
  readonly hold: (bytes: number) => void;
  readonly open: () => void;
  readonly close: () => Promise<void>;
}

/** @param held - which paths are held back; all others always pass */
export async function startGatedProxy(target: string, held: RegExp): Promise<GatedProxy> {
  let left = Number.POSITIVE_INFINITY;
  let passed = 0;
  let opened = Promise.withResolvers<void>();
  const server = createServer((req, res) => {
    const upstream = request(new URL(req.url ?? "/", target), { method: req.method ?? "GET", headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      if (held.test(req.url ?? "")) void pour(answer, res).catch(() => res.destroy());
      else answer.pipe(res);
    });
    res.once("close", () => upstream.destroy());
    upstream.once("error", () => res.destroy());
    req.pipe(upstream);
  });
  const pour = async (answer: IncomingMessage, res: ServerResponse) => {
    const closed = once(res, "close");
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; ) {
        while (left <= 0) await opened.promise;
        const part = chunk.subarray(at, at + left);
        left -= part.length;
        passed += part.length;
        at += part.length;
        if (!res.write(part)) await Promise.race([once(res, "drain"), closed]);
      }
    }
    res.end();
  };
  const release = (bytes: number) => {
    left = bytes;
    passed = 0;
    opened.resolve();
    opened = Promise.withResolvers();
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed: () => passed,
    hold: release,
    open: () => release(Number.POSITIVE_INFINITY),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

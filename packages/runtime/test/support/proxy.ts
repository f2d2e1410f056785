import { connect, createServer, type Socket } from "node:net";

/** A way to a server on this machine that counts what comes back, holds it back, and cuts connections. */
export interface CountingProxy {
  readonly url: string;
  /** Bytes that the server has sent since the last reset. */
  bytes: number;
  /** How many connections are still to be cut, each after so many bytes of the server. */
  cuts: number;
  cutAfterBytes: number;
  /** After so many bytes of the server no connection brings more: it only waits to be cut. */
  holdAfterBytes: number;
  /** Cuts every connection that is open. */
  readonly cutAll: () => void;
  readonly close: () => Promise<void>;
}

export async function startProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target);
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let came = 0;
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      came += chunk.length;
      proxy.bytes += chunk.length;
      if (proxy.cuts > 0 && came > proxy.cutAfterBytes) {
        proxy.cuts -= 1;
        client.destroy();
      }
      if (proxy.bytes >= proxy.holdAfterBytes) upstream.unpipe(client).pause();
    });
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const cutAll = () => {
    for (const socket of open) socket.destroy();
  };
  const proxy: CountingProxy = {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    bytes: 0,
    cuts: 0,
    cutAfterBytes: 0,
    holdAfterBytes: Number.POSITIVE_INFINITY,
    cutAll,
    close: async () => {
      cutAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

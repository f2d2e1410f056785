import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

/** Something between a runtime and its engine, or an S3 server, that passes everything on and counts. */
export interface CountingProxy {
  readonly url: string;
  /** Paths that were asked for with POST, in order. */
  readonly posts: readonly string[];
  /** Method and path of every call, in order. */
  readonly calls: readonly string[];
  close(): Promise<void>;
}

export async function startCountingProxy(target: string): Promise<CountingProxy> {
  const posts: string[] = [];
  const calls: string[] = [];
  const server = createServer((incoming, reply) => {
    const { method, url = "/", headers } = incoming;
    calls.push(`${method} ${url.split("?")[0]}`);
    if (method === "POST") posts.push(url);
    const onward = request(`${target}${url}`, { method, headers }, (answer) => {
      reply.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(reply);
    });
    onward.on("error", () => reply.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posts,
    calls,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

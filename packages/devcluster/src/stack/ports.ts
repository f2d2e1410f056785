import { createServer, type Server } from "node:net";
import { UsageError } from "./errors.ts";

/** Ports on 127.0.0.1 that nobody listens on at this moment, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listen(0)));
  const ports = servers.map((s) => (s.address() as { port: number }).port);
  await Promise.all(servers.map(close));
  return ports;
}

/**
 * Checks a port that the user chose.
 * @throws {@link UsageError} where another program listens on it.
 */
export async function requireFreePort(port: number): Promise<void> {
  try {
    await close(await listen(port));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === "EACCES" ? "may not be used by this user" : "is in use by another program";
    throw new UsageError(`port ${port} ${why}: choose another one with --port, or leave --port out for a free one`);
  }
}

/** What programs say when a port that they were told to listen on is taken: Node, Go, Python and Envoy. */
export function saysPortTaken(lines: readonly string[]): boolean {
  return lines.some((line) => /EADDRINUSE|address already in use|Errno 98|Errno 48/i.test(line));
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

import { createServer } from "node:net";

/** Below the ports that systems hand out to outgoing connections: a server that restarts must find its port free again. */
const [LOWEST, HIGHEST] = [20_000, 29_999];
/** Handed out by this process, and perhaps not taken yet. */
const given = new Set<number>();

/** Three ports on 127.0.0.1 that nobody listens on at this moment, none given twice by this process. */
export async function quietPorts(): Promise<readonly [number, number, number]> {
  return [await quietPort(), await quietPort(), await quietPort()];
}

async function quietPort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

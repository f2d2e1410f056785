import { lookup } from "node:dns/promises";
import { UsageError } from "./errors.ts";

/** An engine that runs already, as Envoy can reach it. */
export interface ExternalEngine {
  readonly url: string;
  readonly port: number;
}

/**
 * Turns an engine's address into one with an IP address, because Envoy's cluster names hosts by address.
 * @throws {@link UsageError} for a name that does not resolve, and for https
 */
export async function resolveEngine(value: string): Promise<ExternalEngine> {
  const url = new URL(value);
  if (url.protocol !== "http:") {
    throw new UsageError(
      `--engine-url=${value}: engines are reached by http:// only; put the engine's plain port here, or a local proxy that ends TLS`,
    );
  }
  if (url.pathname !== "/")
    throw new UsageError(`--engine-url=${value}: give the engine's address without a path, for example ${url.origin}`);
  const name = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? 80 : Number(url.port);
  try {
    const { address, family } = await lookup(name, { order: "ipv4first" });
    return { url: `http://${family === 6 ? `[${address}]` : address}:${port}`, port };
  } catch (error) {
    throw new UsageError(
      `--engine-url=${value}: the host ${name} is not known (${(error as NodeJS.ErrnoException).code}): mend it, or write its IP address`,
    );
  }
}

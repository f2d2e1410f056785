import { buildHub, type HubOptions } from "./app.ts";

/** A running Hub. */
export interface Hub {
  /** What clients take as `HF_ENDPOINT`, without a slash at the end. */
  readonly url: string;
  /** Ends it, open connections included. */
  readonly close: () => Promise<void>;
}

/**
 * Starts a local Hub over a folder of repositories.
 * @throws Error when the port is taken.
 */
export async function startHub(options: HubOptions & { readonly port?: number; readonly host?: string }): Promise<Hub> {
  const app = buildHub(options);
  const url = await app.listen({ port: options.port ?? 0, host: options.host ?? "127.0.0.1" });
  return {
    url,
    close: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { createSecureContext } from "node:tls";
import { ConfigError } from "@aibrix/service";
import type { TlsFiles } from "./transport.ts";

/** How often the files are looked at, in milliseconds. Kubernetes swaps a Secret's files by links, which a watch for events does not follow. */
const LOOK_MS = 10_000;

/** What a server needs of its files. */
export interface TlsContext {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
  readonly minVersion: "TLSv1.2";
}

/**
 * Reads a server's certificate, key and authorities.
 *
 * @throws {@link ConfigError} where a file cannot be read, or they do not fit
 */
export function readTls({ certFile, keyFile, clientCaFile }: TlsFiles): TlsContext {
  const read = (flag: string, file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new ConfigError(`--${flag}: ${(error as Error).message}`);
    }
  };
  const options: TlsContext = {
    cert: read("grpc-tls-cert-file", certFile),
    key: read("grpc-tls-key-file", keyFile),
    ...(clientCaFile === undefined ? {} : { ca: read("grpc-tls-client-ca-file", clientCaFile) }),
    minVersion: "TLSv1.2",
  };
  try {
    createSecureContext(options);
  } catch (error) {
    throw new ConfigError(`--grpc-tls-cert-file=${certFile}, --grpc-tls-key-file=${keyFile}: ${(error as Error).message}`);
  }
  return options;
}

/**
 * Follows the files: `onChange` gets what they hold after a change. What cannot be used, as in the middle of a change, is looked at again
 * when it changes.
 *
 * @returns ends it
 */
export function followTls(files: TlsFiles, onChange: (options: TlsContext) => void, lookMs = LOOK_MS): () => void {
  const names = [files.certFile, files.keyFile, files.clientCaFile].filter((name) => name !== undefined);
  const look = (): void => {
    let options: TlsContext;
    try {
      options = readTls(files);
    } catch {
      return; // The old certificate serves on.
    }
    onChange(options);
  };
  for (const name of names) watchFile(name, { interval: lookMs, persistent: false }, look);
  return () => {
    for (const name of names) unwatchFile(name, look);
  };
}

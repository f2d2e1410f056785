// The bootstrap imports this file before anything is installed: it uses Node's own modules alone.
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;

/**
 * Fetches a file whose SHA-512 sum is known, as hexadecimal digits.
 * @throws Error when it cannot be had whole, or is another one; then the file that was written must not be used.
 */
export async function download(
  { url, sha512 }: { readonly url: string; readonly sha512: string },
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]) });
  if (!answer.ok || answer.body === null) throw new Error(`${url} answered ${answer.status}`);
  const hash = createHash("sha512");
  await pipeline(
    Readable.fromWeb(answer.body),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(file),
  );
  const found = hash.digest("hex");
  if (found !== sha512) throw new Error(`${url} has the SHA-512 ${found}, but its publisher says ${sha512}`);
}

/** What `fetch` hides in the cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

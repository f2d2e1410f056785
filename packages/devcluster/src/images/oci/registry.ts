import { openAsBlob } from "node:fs";
import { deadline } from "../../stack/time.ts";
import type { Layout } from "./layout.ts";
import type { Descriptor } from "./types.ts";

/** The registry refused or could not be reached; the message names it and what it said. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
}

/** A place for an image in a registry. */
export interface Place {
  /** `http://host:port`. */
  readonly registry: string;
  /** `aibrix/runtime`, with what the registry's own prefix is. */
  readonly repository: string;
  readonly tag: string;
}

const CALL_MS = 30_000;
/** For one blob; the largest has some gigabytes. */
const UPLOAD_MS = 15 * 60_000;

/**
 * Pushes an image to a registry that asks for no login, as the OCI distribution specification has it. Blobs that are there already are
 * not sent again.
 * @returns whether anything had to be done.
 * @throws RegistryError naming the registry's answer.
 */
export async function pushImage(layout: Layout, image: Descriptor, place: Place, signal: AbortSignal): Promise<"pushed" | "there"> {
  const base = `${place.registry.replace(/\/+$/, "")}/v2/${place.repository}`;
  const manifestUrl = `${base}/manifests/${place.tag}`;
  const there = await call(manifestUrl, { method: "HEAD", headers: { accept: image.mediaType } }, [200, 404], CALL_MS, signal);
  if (there.headers.get("docker-content-digest") === image.digest) return "there";
  const { config, layers } = await layout.manifest(image);
  for (const blob of [...layers, config]) await pushBlob(layout, blob, base, signal);
  const body = await openAsBlob(layout.blobPath(image.digest));
  await call(manifestUrl, { method: "PUT", body, headers: { "content-type": image.mediaType } }, [201], CALL_MS, signal);
  return "pushed";
}

async function pushBlob(layout: Layout, blob: Descriptor, base: string, signal: AbortSignal): Promise<void> {
  const there = await call(`${base}/blobs/${blob.digest}`, { method: "HEAD" }, [200, 404], CALL_MS, signal);
  if (there.status === 200) return;
  const begun = await call(`${base}/blobs/uploads/`, { method: "POST" }, [202], CALL_MS, signal);
  const location = begun.headers.get("location");
  if (location === null) throw new RegistryError(`${base} began an upload without saying where it goes`);
  const upload = new URL(location, base);
  upload.searchParams.set("digest", blob.digest);
  const body = await openAsBlob(layout.blobPath(blob.digest));
  await call(upload.href, { method: "PUT", body, headers: { "content-type": "application/octet-stream" } }, [201], UPLOAD_MS, signal);
}

async function call(
  url: string,
  init: RequestInit,
  expected: readonly number[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { ...init, signal: deadline(timeoutMs, signal) });
  } catch (error) {
    signal.throwIfAborted();
    const { message, cause } = error as Error;
    throw new RegistryError(`${init.method} ${url}: ${cause instanceof Error ? cause.message : message}`, { cause: error });
  }
  if (expected.includes(answer.status)) {
    await answer.body?.cancel();
    return answer;
  }
  throw new RegistryError(`${init.method} ${url}: the registry answered ${answer.status} ${(await answer.text()).slice(0, 500)}`.trim());
}

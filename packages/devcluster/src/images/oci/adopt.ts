import { link } from "node:fs/promises";
import type { Layout } from "./layout.ts";
import { type Descriptor, MANIFEST_TYPE, type Manifest } from "./types.ts";

/**
 * Takes an image into a layout, whose blobs lie in files on the same disk, and names it.
 * @param fileOf - the path of a blob by the hexadecimal digits of its digest
 */
export async function adoptImage(manifest: Manifest, fileOf: (hex: string) => string, layout: Layout, ref: string): Promise<Descriptor> {
  for (const { digest } of [manifest.config, ...manifest.layers]) {
    await link(fileOf(digest.replace("sha256:", "")), layout.blobPath(digest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
  return layout.name(ref, await layout.writeJson(manifest.mediaType ?? MANIFEST_TYPE, manifest));
}

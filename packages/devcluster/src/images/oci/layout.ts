import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Descriptor, type Manifest, REF_NAME } from "./types.ts";

/**
 * A folder of images as the OCI image-layout specification has it: blobs by digest, and an index that names images.
 * Only one process at a time may write; its users hold a lock.
 */
export class Layout {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Opens a folder, or makes an empty layout of it. */
  static async open(dir: string): Promise<Layout> {
    await mkdir(join(dir, "blobs", "sha256"), { recursive: true });
    await writeFile(join(dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    return new Layout(dir);
  }

  blobPath(digest: string): string {
    const [algorithm = "", hex = ""] = digest.split(":");
    if (algorithm !== "sha256" || !/^[0-9a-f]{64}$/.test(hex)) throw new Error(`not a sha256 digest: ${digest}`);
    return join(this.dir, "blobs", algorithm, hex);
  }

  /** The image of this name, if its manifest and all its blobs are here. */
  async find(ref: string): Promise<Descriptor | undefined> {
    const found = (await this.images()).find((each) => each.annotations?.[REF_NAME] === ref);
    if (found === undefined) return undefined;
    try {
      const { config, layers } = await this.manifest(found);
      for (const blob of [config, ...layers]) if ((await stat(this.blobPath(blob.digest))).size !== blob.size) return undefined;
      return found;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** The names of all images, the oldest first. */
  async names(): Promise<readonly string[]> {
    return (await this.images()).map((each) => each.annotations?.[REF_NAME] ?? "");
  }

  async manifest(image: Descriptor): Promise<Manifest> {
    return JSON.parse(await readFile(this.blobPath(image.digest), "utf8"));
  }

  /** Writes a blob from a stream. @returns its descriptor */
  async write(mediaType: string, content: Readable, signal: AbortSignal): Promise<Descriptor> {
    const draft = join(this.dir, "blobs", `draft-${process.pid}-${Math.random().toString(36).slice(2)}`);
    const hash = createHash("sha256");
    let size = 0;
    try {
      await pipeline(
        content,
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            hash.update(chunk);
            size += chunk.length;
            yield chunk;
          }
        },
        createWriteStream(draft),
        { signal },
      );
      const digest = `sha256:${hash.digest("hex")}`;
      await rename(draft, this.blobPath(digest));
      return { mediaType, digest, size };
    } finally {
      await rm(draft, { force: true });
    }
  }

  /** Writes a JSON document as a blob. */
  async writeJson(mediaType: string, value: unknown): Promise<Descriptor> {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    await writeFile(this.blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Names an image; the name moves if another image had it. */
  async name(ref: string, { mediaType, digest, size }: Descriptor): Promise<Descriptor> {
    const named: Descriptor = { mediaType, digest, size, annotations: { [REF_NAME]: ref } };
    await this.writeIndex([...(await this.images()).filter((each) => each.annotations?.[REF_NAME] !== ref), named]);
    return named;
  }

  /** Keeps the images whose names `keep` accepts, and the blobs that they need. */
  async sweep(keep: (ref: string) => boolean): Promise<void> {
    const kept = (await this.images()).filter((each) => keep(each.annotations?.[REF_NAME] ?? ""));
    await this.writeIndex(kept);
    const needed = new Set<string>();
    for (const image of kept) {
      const { config, layers } = await this.manifest(image);
      for (const blob of [image, config, ...layers]) needed.add(this.blobPath(blob.digest));
    }
    const folder = join(this.dir, "blobs", "sha256");
    for (const name of await readdir(folder)) if (!needed.has(join(folder, name))) await rm(join(folder, name));
  }

  /** Puts images, each under the names given, into another layout: without copying where both are on one disk. */
  async share(
    images: readonly { readonly image: Descriptor; readonly annotations: Readonly<Record<string, string>> }[],
    target: Layout,
  ): Promise<void> {
    for (const { image } of images) {
      const { config, layers } = await this.manifest(image);
      for (const { digest } of [image, config, ...layers]) {
        await link(this.blobPath(digest), target.blobPath(digest)).catch(async (error: NodeJS.ErrnoException) => {
          if (error.code === "EXDEV") await pipeline(createReadStream(this.blobPath(digest)), createWriteStream(target.blobPath(digest)));
          else if (error.code !== "EEXIST") throw error;
        });
      }
    }
    await target.writeIndex(
      images.map(({ image: { mediaType, digest, size }, annotations }) => ({ mediaType, digest, size, annotations })),
    );
  }

  private async images(): Promise<readonly Descriptor[]> {
    const text = await readFile(join(this.dir, "index.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return '{"manifests":[]}';
      throw error;
    });
    return JSON.parse(text).manifests;
  }

  private async writeIndex(manifests: readonly Descriptor[]): Promise<void> {
    const draft = join(this.dir, `index.json.${process.pid}`);
    await writeFile(draft, JSON.stringify({ schemaVersion: 2, manifests }));
    await rename(draft, join(this.dir, "index.json"));
  }
}

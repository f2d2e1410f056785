import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveKind } from "@aibrix/api";
import { AdapterError } from "../../errors.ts";
import { selectFiles } from "../check/select.ts";
import { hashFiles } from "../sources/path.ts";
import type { Listing, RemoteFile } from "../sources/source.ts";
import type { Downloaded } from "../transfer/download.ts";
import { storageError } from "../transfer/storage-error.ts";
import { Bounds, withoutTopFolder } from "./entries.ts";
import { Headroom, NoRoomToUnpack } from "./headroom.ts";
import { untar } from "./tar.ts";
import { unzip } from "./zip.ts";

/** Where the entries are written before they get their names; no file of an adapter begins with a dot. */
const RAW = ".entries";

/**
 * Unpacks an archive into a folder, of which the files that an adapter is made of remain. Entries are written under numbers; a name of
 * the archive becomes a file's name only once it is known to be a plain one.
 *
 * @param folder - exists, and is empty but for what an earlier try left
 * @param what - the artifact's URL, for messages
 * @throws AdapterError `ArtifactInvalid`; NoRoomToUnpack; other errors of the volume as they are
 */
export async function unpackArchive(
  archive: { readonly path: string; readonly kind: ArchiveKind },
  folder: string,
  what: string,
  signal: AbortSignal,
  headroom: Headroom = new Headroom(folder),
): Promise<readonly Downloaded[]> {
  const raw = join(folder, RAW);
  await rm(raw, { recursive: true, force: true });
  await mkdir(raw);
  try {
    const bounds = new Bounds((await stat(archive.path)).size);
    const unpacked =
      archive.kind === "zip"
        ? await unzip(archive.path, raw, bounds, headroom, signal)
        : await untar(archive.path, archive.kind === "tar.gz", raw, bounds, headroom, signal);
    const entries = withoutTopFolder(unpacked);
    const top = entries.filter((e) => !e.name.includes("/"));
    const files = selectFiles(
      top.map((e): RemoteFile => ({ name: e.name, sizeBytes: e.sizeBytes, etag: "" })),
      what,
    );
    for (const { name } of files) {
      const entry = top.find((e) => e.name === name);
      if (entry !== undefined) await rename(entry.path, join(folder, name));
    }
    return await hashFiles(folder, files, signal);
  } catch (error) {
    const told = storageError(error);
    throw told instanceof AdapterError && told.reason === "StorageFull" && !(told instanceof NoRoomToUnpack)
      ? new NoRoomToUnpack(told.message, told.cause)
      : error;
  } finally {
    await rm(raw, { recursive: true, force: true });
  }
}

/** The files of an artifact and where they are, once what was fetched is unpacked. */
export async function unpacked(
  url: string,
  { archive: kind }: Listing,
  fetched: readonly Downloaded[],
  folder: string,
  signal: AbortSignal,
): Promise<{ readonly files: readonly Downloaded[]; readonly at: string; readonly archiveDigest: readonly string[] }> {
  const [archive] = fetched;
  if (kind === undefined || archive === undefined) return { files: fetched, at: folder, archiveDigest: [] };
  const at = `${folder}/.unpacked`;
  await rm(at, { recursive: true, force: true });
  await mkdir(at);
  const files = await unpackArchive({ path: `${folder}/${archive.name}`, kind }, at, url, signal);
  return { files, at, archiveDigest: [`sha256:${archive.sha256}`] };
}

import { randomUUID } from "node:crypto";
import { chmod, mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What an adapter may be called here: one folder's name that neither leaves its parent nor hides. */
const LORA_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
/** What a pod may be called here: its uid or its name. */
export const POD_FOLDER: RegExp = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?$/;
/** Name of a content's folder: its digest without `sha256:`. Only folders of this shape are ever removed. */
export const HEX: RegExp = /^[0-9a-f]{64}$/;
/** Name of the folder of a half download that somebody works on: its key and its lock's token. */
export const WORK_NAME: RegExp = /^[0-9a-f]{64}\.[0-9a-f-]{36}$/;
/** Name of something that is only here for the moment: a UUID. */
export const TEMPORARY: RegExp = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Name of the list of files inside a content's folder. Engines ignore it. */
export const MANIFEST_FILE = ".aibrix-manifest.json";

/** Where what is in a volume. `<root>/.cache` is common to all pods that share the volume; the rest is one pod's. */
export interface Layout {
  readonly root: string;
  /** The pod's own folder: `<root>`, or `<root>/pods/<pod>` in a volume that pods share. */
  readonly own: string;
  /** Name of the own folder; empty where the whole volume is this pod's. */
  readonly pod: string;
  readonly pods: string;
  readonly tmp: string;
  /** Notes of the contents that adapters of this pod had before, a file for each name. */
  readonly former: string;
  readonly contents: string;
  readonly sources: string;
  readonly locks: string;
  /** Half downloads that nobody works on. */
  readonly partial: string;
  /** Half downloads that somebody works on, each in a folder of its own name. */
  readonly work: string;
  readonly trash: string;
}

/** @param podFolder - this pod's name in a volume that pods share */
export function layoutOf(root: string, podFolder: string | undefined): Layout {
  if (podFolder !== undefined && !POD_FOLDER.test(podFolder)) throw new Error(`"${podFolder}" cannot be a pod's folder`);
  const own = podFolder === undefined ? root : join(root, "pods", podFolder);
  const cache = join(root, ".cache");
  return {
    root,
    own,
    pod: podFolder ?? "",
    pods: join(root, "pods"),
    tmp: join(own, ".tmp"),
    former: join(own, ".former"),
    contents: join(cache, "contents"),
    sources: join(cache, "sources"),
    locks: join(cache, "locks"),
    partial: join(cache, "partial"),
    work: join(cache, "work"),
    trash: join(cache, "trash"),
  };
}

/** The folder of an adapter's contents. Throws for a name that could lead elsewhere. */
export function nameFolder(layout: Layout, name: string): string {
  if (!LORA_NAME.test(name)) throw new Error(`"${name}" cannot be a folder's name`);
  return join(layout.own, name);
}

/** The digest as a folder is named. Throws for what is no digest. */
export function hexOf(digest: string): string {
  const hex = digest.replace(/^sha256:/, "");
  if (!HEX.test(hex)) throw new Error(`"${digest}" is no digest`);
  return hex;
}

/** Makes a folder that every user may read, whatever this process's umask: engines run as other users. */
export async function makeFolder(path: string): Promise<void> {
  if ((await mkdir(path, { recursive: true })) !== undefined) await chmod(path, 0o755);
}

/** Writes a file that every user may read. */
export async function writeReadable(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o644);
}

/**
 * Brings a file's bytes to the disk. After a restart files are believed by their sizes and times, and a machine that lost its power may show
 * one of the right size with other bytes: its name may reach the disk before its content. A name or a list of files that was lost shows by
 * itself, so that folders need none of this. It took 140 ms for 64 MiB on a disk of 500 MB/s.
 */
export async function toDisk(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/**
 * Takes something out of sight at once, then removes it. Only what could be moved is removed: of several pods that want to remove the same,
 * one does. Returns whether this one did.
 */
export async function removeWhole(layout: Layout, path: string): Promise<boolean> {
  const away = join(layout.trash, randomUUID());
  try {
    await rename(path, away);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  await rm(away, { recursive: true, force: true });
  return true;
}

export function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException | undefined)?.code);
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === "ENOENT";
}

/** What a file system without hard links says, or one that has no more for this file or gives this user none. */
export const NO_LINKS: readonly string[] = ["EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"];

/** Whether a rename failed because something is there already. */
export function isTaken(error: unknown): boolean {
  return ["ENOTEMPTY", "EEXIST"].includes(codeOf(error));
}

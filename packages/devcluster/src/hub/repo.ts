import { createHash } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { pipeline } from "node:stream/promises";

/** A file that marks its repository as gated: its files need the token. It is not part of the content. */
const GATED_MARKER = ".gated";

/** Files that the Hub keeps in large file storage. */
const LARGE_FILE = /\.(safetensors|bin|gguf|pt)$/;

/** One file of a repository, as it is on disk now. */
export interface RepoFile {
  /** Path inside the repository, with slashes. */
  readonly path: string;
  readonly absolutePath: string;
  readonly size: number;
  /** Git's object id (sha1). */
  readonly gitOid: string;
  /** The content's sha256 in hex, for a file in large file storage. */
  readonly lfsOid?: string;
}

/** One revision of a repository: what one directory holds at the moment of the call. */
export interface RepoSnapshot {
  readonly id: string;
  /** 40 hex digits over paths and contents: it changes exactly when the content does. */
  readonly commit: string;
  readonly gated: boolean;
  /** When a file last changed, milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Sorted by path. */
  readonly files: readonly RepoFile[];
}

/** The JavaScript client asks for HEAD where it was given no revision. */
const MAIN_NAMES: readonly string[] = ["main", "HEAD"];

/** Names of owners, repositories and revisions: one path segment that cannot lead elsewhere. */
const SEGMENT = /^(?!\.)[\w.-]+$/;

/**
 * Reads the repository `org/name` at `revision` (`main`, the commit of main, or `x` for the directory `name@x`).
 * @returns the snapshot, or which of the two is missing.
 */
export async function readRepo(
  root: string,
  org: string,
  name: string,
  revision: string,
): Promise<RepoSnapshot | "no-repo" | "no-revision"> {
  if (!SEGMENT.test(org) || !SEGMENT.test(name)) return "no-repo";
  const base = join(root, org, name);
  const main = (await isDirectory(base)) ? await readSnapshot(base, `${org}/${name}`) : undefined;
  if (main !== undefined && (MAIN_NAMES.includes(revision) || revision === main.commit)) return main;
  if (SEGMENT.test(revision)) {
    const tagged = join(root, org, `${name}@${revision}`);
    if (await isDirectory(tagged)) return readSnapshot(tagged, `${org}/${name}`);
  }
  const other = await snapshotOfCommit(root, org, name, revision);
  return other ?? (main === undefined ? "no-repo" : "no-revision");
}

/** Other revisions can be asked for by their commits too, as clients do once they have resolved a name. */
async function snapshotOfCommit(root: string, org: string, name: string, commit: string): Promise<RepoSnapshot | undefined> {
  if (!/^[0-9a-f]{40}$/.test(commit) || !(await isDirectory(join(root, org)))) return undefined;
  for (const entry of (await readdir(join(root, org))).sort()) {
    if (!entry.startsWith(`${name}@`)) continue;
    const snapshot = await readSnapshot(join(root, org, entry), `${org}/${name}`);
    if (snapshot.commit === commit) return snapshot;
  }
  return undefined;
}

async function readSnapshot(dir: string, id: string): Promise<RepoSnapshot> {
  const files: RepoFile[] = [];
  let gated = false;
  let modifiedMs = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const absolutePath = join(entry.parentPath, entry.name);
    const path = relative(dir, absolutePath).split(sep).join("/");
    if (path === GATED_MARKER) {
      gated = true;
      continue;
    }
    const info = await stat(absolutePath);
    if (!info.isFile()) continue;
    modifiedMs = Math.max(modifiedMs, info.mtimeMs);
    files.push(await knownRepoFile(absolutePath, path, info));
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const commit = createHash("sha1");
  for (const file of files) commit.update(`${file.path}\0${file.gitOid}\n`);
  return { id, commit: commit.digest("hex"), gated, modifiedMs, files };
}

/** Hashing a smaller file takes no time, and a clock's step cannot hide its change then. */
const LARGE_BYTES = 2 ** 20;

/** Large files that were read, by what changes with their content: they are asked for in many parts, and each answer names the hash. */
const known = new Map<string, { readonly stamp: string; readonly file: Promise<RepoFile> }>();

async function knownRepoFile(absolutePath: string, path: string, { size, ino, mtimeMs, ctimeMs }: Stats): Promise<RepoFile> {
  if (size < LARGE_BYTES) return await readRepoFile(absolutePath, path, size);
  const stamp = [path, size, ino, mtimeMs, ctimeMs].join(" ");
  const before = known.get(absolutePath);
  if (before?.stamp === stamp) return await before.file;
  const file = readRepoFile(absolutePath, path, size);
  known.set(absolutePath, { stamp, file });
  file.catch(() => known.delete(absolutePath));
  return await file;
}

async function readRepoFile(absolutePath: string, path: string, size: number): Promise<RepoFile> {
  const git = createHash("sha1").update(`blob ${size}\0`);
  const sha256 = createHash("sha256");
  await pipeline(createReadStream(absolutePath), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      git.update(chunk);
      sha256.update(chunk);
    }
  });
  const file = { path, absolutePath, size, gitOid: git.digest("hex") };
  return LARGE_FILE.test(path) ? { ...file, lfsOid: sha256.digest("hex") } : file;
}

async function isDirectory(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() ?? false;
}

import type { RepoFile, RepoSnapshot } from "./repo.ts";

/** An error in the Hub's shape: clients tell errors apart by the header `X-Error-Code`. */
export interface HubError {
  readonly status: number;
  readonly code?: string;
  readonly message: string;
}

export const REPO_NOT_FOUND: HubError = { status: 404, code: "RepoNotFound", message: "Repository not found" };
export const STORED_OBJECT_GONE: HubError = { status: 404, message: "The specified key does not exist." };
export const WRONG_TOKEN: HubError = { status: 401, message: "Invalid credentials in Authorization header" };

export function revisionNotFound(revision: string): HubError {
  return { status: 404, code: "RevisionNotFound", message: `Invalid rev id: ${revision}` };
}

export function entryNotFound(path: string, revision: string): HubError {
  return { status: 404, code: "EntryNotFound", message: `${path} does not exist on "${revision}"` };
}

export function gatedRepo(id: string): HubError {
  return {
    status: 401,
    code: "GatedRepo",
    message: `Access to model ${id} is restricted. You must have access to it and be authenticated to access it. Please log in.`,
  };
}

/** The answer of `/api/models/{repo}`; `blobs` adds sizes and ids of the files. */
export function modelInfo(repo: RepoSnapshot, blobs: boolean): object {
  const date = new Date(repo.modifiedMs).toISOString();
  return {
    _id: repo.commit.slice(0, 24),
    id: repo.id,
    modelId: repo.id,
    author: repo.id.split("/")[0],
    sha: repo.commit,
    lastModified: date,
    createdAt: date,
    private: false,
    gated: repo.gated ? "manual" : false,
    disabled: false,
    downloads: 0,
    likes: 0,
    tags: [],
    siblings: repo.files.map((file) => ({
      rfilename: file.path,
      ...(blobs ? { size: file.size, blobId: file.gitOid, ...lfsInfo(file, "sha256") } : {}),
    })),
  };
}

/**
 * The entries below `folder` (empty for the top): all files and folders with `recursive`, else one level.
 * @returns undefined when there is no such folder.
 */
export function treeEntries(
  repo: RepoSnapshot,
  folder: string,
  options: { recursive: boolean; expand: boolean },
): readonly object[] | undefined {
  const prefix = folder === "" ? "" : `${folder}/`;
  const files = repo.files.filter((file) => file.path.startsWith(prefix));
  if (folder !== "" && files.length === 0) return undefined;
  const extra = options.expand
    ? { lastCommit: { id: repo.commit, title: "Upload", date: new Date(repo.modifiedMs).toISOString() }, securityFileStatus: null }
    : {};
  const shown = (path: string): boolean => options.recursive || !path.slice(prefix.length).includes("/");
  const folders = [...new Set(files.flatMap((file) => parents(file.path)))].filter((path) => path.startsWith(prefix) && shown(path));
  return [
    ...folders.map((path) => ({ type: "directory", oid: repo.commit, size: 0, path, ...extra })),
    ...files.filter((file) => shown(file.path)).map((file) => ({ ...fileEntry(file), ...extra })),
  ];
}

/** One file as `tree` and `paths-info` show it. */
export function fileEntry(file: RepoFile): object {
  return { type: "file", oid: file.gitOid, size: file.size, path: file.path, ...lfsInfo(file, "oid") };
}

function lfsInfo(file: RepoFile, key: "oid" | "sha256"): object {
  if (file.lfsOid === undefined) return {};
  return { lfs: { [key]: file.lfsOid, size: file.size, pointerSize: pointerSize(file.size) } };
}

/** Bytes of the pointer file that Git keeps in place of a large file. */
function pointerSize(size: number): number {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize ${size}\n`.length;
}

function parents(path: string): readonly string[] {
  const segments = path.split("/").slice(0, -1);
  return segments.map((_, index) => segments.slice(0, index + 1).join("/"));
}

import { readdir, realpath, rename } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { codeOf, isMissing, isTaken, type Layout, layoutOf, makeFolder, removeWhole } from "../artifact/store/layout.ts";
import { AdapterError } from "../errors.ts";
import { type ModelManifest, readModelManifest } from "./manifest.ts";
import { isSameModel, type ModelSource, parseModelUri } from "./model-uri.ts";

/** Times that a model's folder is put in place again because another process did the same meanwhile. */
const PLACE_TRIES = 5;

/**
 * The folder that models are put in, with room for half downloads in `.cache`.
 *
 * @param pod - who holds its locks: the same for every process of a pod, another one for each pod
 */
export async function openModelsFolder(dir: string, pod: string): Promise<Layout> {
  // All of ours in one hidden folder: people look into this one.
  const layout = { ...layoutOf(dir, undefined), pod, tmp: join(dir, ".cache/tmp") };
  for (const path of [layout.locks, layout.partial, layout.work, layout.trash]) await makeFolder(path);
  return layout;
}

/**
 * Sees that a model may become a folder: nothing is there, or the same model of whatever revision.
 *
 * @returns the manifest of what is there
 * @throws AdapterError `FolderTaken`
 */
export async function checkFree(path: string, source: ModelSource): Promise<ModelManifest | undefined> {
  const manifest = await readModelManifest(path);
  if (manifest !== undefined) {
    if (isSameModel(sourceOf(manifest) ?? source, source)) return manifest;
    throw taken(`${path} holds ${manifest.model_uri}: give this model another name, or remove that folder`);
  }
  try {
    if ((await readdir(path)).length === 0) return undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (codeOf(error) !== "ENOTDIR") throw error;
  }
  throw taken(`${path} holds something that was not put there as a whole model: give the model another name, or remove it`);
}

function sourceOf({ model_uri: uri }: ModelManifest): ModelSource | undefined {
  try {
    return parseModelUri(uri).source;
  } catch {
    return undefined;
  }
}

/**
 * Gives a whole model its folder, in one step where none is there; an earlier revision is taken away first. Engines that have files of it open
 * keep them.
 *
 * @throws AdapterError `FolderTaken`
 */
export async function putInPlace(layout: Layout, files: string, path: string, source: ModelSource): Promise<void> {
  for (let tries = PLACE_TRIES; ; tries -= 1) {
    try {
      return await rename(files, path);
    } catch (error) {
      if (["EBUSY", "EXDEV"].includes(codeOf(error)))
        throw taken(`${path} is the root of a volume, and the model has to become a folder in one: mount the volume at ${dirname(path)}`);
      if ((!isTaken(error) && codeOf(error) !== "ENOTDIR") || tries === 0) throw error;
    }
    await checkFree(path, source);
    await removeWhole(layout, path);
  }
}

/**
 * The folder that a call means: the folder of all models, or one in it.
 *
 * @returns its absolute path, or `undefined` for one that leaves the folder, by its text or by a link, or hides in it
 */
export async function folderBelow(root: string, given: string | undefined): Promise<string | undefined> {
  if (given === undefined) return root;
  if (!isAbsolute(given) || given.includes("\0")) return undefined;
  const path = resolve(given);
  if (
    !isBelow(root, path) ||
    relative(root, path)
      .split(sep)
      .some((part) => part.startsWith("."))
  )
    return undefined;
  return isBelow(await existing(root), await existing(path)) ? path : undefined;
}

function isBelow(root: string, path: string): boolean {
  return path === root || path.startsWith(root === sep ? sep : root + sep);
}

/** Where a path leads, as far as it is there. */
async function existing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) throw error;
    return join(await existing(dirname(path)), path.slice(dirname(path).length));
  }
}

/** The model whose folder a path is in, or `undefined`. Asked for folders between `root` and `path`, both included. */
export async function modelAbove(root: string, path: string): Promise<string | undefined> {
  for (let at = path; isBelow(root, at); at = dirname(at)) {
    if ((await readModelManifest(at)) !== undefined) return at;
    if (at === dirname(at)) break;
  }
  return undefined;
}

function taken(message: string): AdapterError {
  return new AdapterError("FolderTaken", message);
}

import { engineContainer } from "@aibrix/api";
import type { Container, Pod, VolumeMount } from "@aibrix/kube";
import { flagValue, runtimeContainer } from "./containers.ts";

/** Where the sidecar keeps artifacts unless told otherwise. */
export const DEFAULT_ARTIFACTS_DIR = "/tmp/aibrix/adapters";

/** One folder under its two names. */
export interface SharedFolder {
  readonly runtimeDir: string;
  readonly engineDir: string;
}

/** Kinds of volumes that hold settings, not room for files. */
const SETTINGS = ["configMap", "secret", "projected", "downwardAPI"];

/**
 * The folder for artifacts that both containers see: the one that the sidecar is started with (`--artifacts-dir`, or its default) where that
 * lies on a shared volume, or else the first shared volume that the sidecar can write to. `undefined` where there is none.
 */
export function sharedFolder(pod: Pod): SharedFolder | undefined {
  let known = SHARED.get(pod);
  if (known === undefined) {
    known = { folder: findShared(pod) };
    SHARED.set(pod, known);
  }
  return known.folder;
}

/** Looked for once: every adapter that a pod may take asks. */
const SHARED = new WeakMap<Pod, { readonly folder: SharedFolder | undefined }>();

function findShared(pod: Pod): SharedFolder | undefined {
  const [engine, runtime] = [engineContainer(pod.spec.containers), runtimeContainer(pod)];
  if (engine === undefined || runtime === undefined) return undefined;
  const usual = clean(flagValue(runtime, "--artifacts-dir") ?? DEFAULT_ARTIFACTS_DIR);
  const writable = (runtime.volumeMounts ?? []).filter((m) => m.readOnly !== true && holdsFiles(pod, m));
  const usualMount = mountOf(writable, usual);
  if (usualMount !== undefined) {
    const engineDir = seenBy(engine, usualMount, usual);
    if (engineDir !== undefined) return { runtimeDir: usual, engineDir };
  }
  for (const mount of writable) {
    const dir = clean(mount.mountPath);
    const engineDir = seenBy(engine, mount, dir);
    if (engineDir !== undefined) return { runtimeDir: dir, engineDir };
    // The engine may mount a part of what the sidecar mounts.
    for (const part of engine.volumeMounts ?? []) {
      const runtimeDir = part.name === mount.name ? seenBy(runtime, part, clean(part.mountPath)) : undefined;
      if (runtimeDir !== undefined) return { runtimeDir, engineDir: clean(part.mountPath) };
    }
  }
  return undefined;
}

/** Whether the sidecar sees under `path` what the engine sees there. */
export function seesSame(pod: Pod, path: string): boolean {
  const [engine, runtime] = [engineContainer(pod.spec.containers), runtimeContainer(pod)];
  if (engine === undefined || runtime === undefined) return false;
  const mount = mountOf(engine.volumeMounts ?? [], clean(path));
  return mount !== undefined && seenBy(runtime, mount, clean(path)) === clean(path);
}

function holdsFiles(pod: Pod, mount: VolumeMount): boolean {
  const volume = pod.spec.volumes?.find((v) => v.name === mount.name);
  if (volume === undefined || SETTINGS.some((kind) => volume[kind] !== undefined)) return false;
  // Shared memory is the engine's working room, not a place for files.
  return clean(mount.mountPath) !== "/dev/shm";
}

/** The mount that a path lies on: the longest one that leads to it. */
function mountOf(mounts: readonly VolumeMount[], path: string): VolumeMount | undefined {
  return mounts.filter((m) => inside(clean(m.mountPath), path)).sort((a, b) => b.mountPath.length - a.mountPath.length)[0];
}

/** Another container's path to what lies at `path` through `mount`; `undefined` where it does not see it. */
function seenBy(other: Container, mount: VolumeMount, path: string): string | undefined {
  const place = join(root(mount), below(clean(mount.mountPath), path));
  for (const m of other.volumeMounts ?? []) {
    if (m.name !== mount.name || (m.subPathExpr ?? "") !== (mount.subPathExpr ?? "") || !inside(root(m), place)) continue;
    const seen = join(clean(m.mountPath), below(root(m), place));
    // Another mount deeper in the tree would hide it.
    if (mountOf(other.volumeMounts ?? [], seen) === m) return seen;
  }
  return undefined;
}

/** Where in its volume a mount begins. */
function root(mount: VolumeMount): string {
  return clean(`/${mount.subPath ?? ""}`);
}

/** Whether `path` is `folder` or in it. */
function inside(folder: string, path: string): boolean {
  return folder === "/" || path === folder || path.startsWith(`${folder}/`);
}

/** What of `path` comes after `folder`. */
function below(folder: string, path: string): string {
  return clean(`/${path.slice(folder === "/" ? 0 : folder.length)}`);
}

function join(a: string, b: string): string {
  return clean(`${a}/${b}`);
}

function clean(path: string): string {
  return path.replace(/\/{2,}/g, "/").replace(/(.)\/+$/, "$1");
}

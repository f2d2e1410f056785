import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../stack/time.ts";

/** A mounted hierarchy of control groups. */
export interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
}

const REMOVE_WITHIN_MS = 20_000;
/**
 * What is passed on of the newer control groups. A kubelet refuses a root without any of cpu, cpuset, hugetlb, memory and pids that the
 * kernel has; io is for its figures.
 */
const CONTROLLERS = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/** Hierarchies in the text of `/proc/self/mounts`. Pure. */
export function hierarchiesIn(mounts: string): readonly Hierarchy[] {
  return mounts
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type]) => type === "cgroup" || type === "cgroup2")
    .map(([, path = "", type]) => ({ path, version: type === "cgroup2" ? 2 : 1 }));
}

/**
 * Makes a group in every hierarchy, with all processors and memory nodes. A kubelet wants to find its root.
 * @param mounts - the text of `/proc/self/mounts`
 */
export function makeCgroups(name: string, mounts: string = readFileSync("/proc/self/mounts", "utf8")): void {
  const hierarchies = hierarchiesIn(mounts);
  // Beside the older kind the newer one has next to nothing to offer, and runc leaves it alone.
  const main = hierarchies.some((h) => h.version === 1) ? hierarchies.filter((h) => h.version === 1) : hierarchies;
  for (const { path, version } of main) {
    if (version === 2) delegate(path);
    const group = join(path, name);
    mkdirSync(group, { recursive: true });
    // Only the older kind leaves these empty, and an empty group takes no process.
    for (const file of ["cpuset.mems", "cpuset.cpus"]) {
      if (version === 1 && existsSync(join(group, file))) copyValue(join(path, file), join(group, file));
    }
  }
}

function copyValue(from: string, to: string): void {
  writeFileSync(to, readFileSync(from, "utf8"));
}

/** Passes controllers on to the root's children, where that was not done. */
function delegate(root: string): void {
  const words = (file: string) => readFileSync(join(root, file), "utf8").trim().split(/\s+/);
  const on = new Set(words("cgroup.subtree_control"));
  const wanted = words("cgroup.controllers").filter((c) => CONTROLLERS.includes(c) && !on.has(c));
  if (wanted.length > 0) writeFileSync(join(root, "cgroup.subtree_control"), wanted.map((c) => `+${c}`).join(" "));
}

/**
 * Removes the groups with all below them. Processes in them must have ended; the kernel may take a moment to notice.
 * @returns paths that could not be removed
 */
export async function removeCgroups(name: string, signal: AbortSignal): Promise<readonly string[]> {
  const groups = hierarchiesIn(readFileSync("/proc/self/mounts", "utf8")).map((h) => join(h.path, name));
  const left = () => groups.filter((path) => existsSync(path));
  await until(
    () => {
      for (const path of left()) removeTree(path);
      return left().length === 0;
    },
    50,
    AbortSignal.any([signal, AbortSignal.timeout(REMOVE_WITHIN_MS)]),
  );
  return left();
}

/** The files in a group go with it; only folders are removed. Throws while one is in use. */
function removeTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(path, entry.name));
  }
  rmdirSync(path);
}

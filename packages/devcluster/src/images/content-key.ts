import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { DockerfileSource, FilesSource } from "./spec.ts";

/** Counts up when images are made in another way, so that older ones are made anew. */
const RECIPE = 2;

const ROOT_FILES = [
  "Dockerfile",
  ".dockerignore",
  "package.json",
  "pnpm-lock.yaml",
  "pnpm-workspace.yaml",
  "rolldown.config.ts",
  "tsconfig.base.json",
];
const NOT_BUILT = new Set(["node_modules", "dist", "test"]);

/** A key of all that goes into a target of the Dockerfile: another key, another image. */
export async function dockerfileKey(root: string, source: DockerfileSource, nodeImage: string): Promise<string> {
  const files = [...ROOT_FILES];
  for (const name of await packageClosure(root, source.package)) files.push(...(await sourceFiles(root, join("packages", name))));
  const hash = createHash("sha256").update(JSON.stringify([RECIPE, source.target, Object.entries(source.args).sort(), nodeImage]));
  for (const file of files.sort()) hash.update(`\0${file}\0`).update(await readFile(join(root, file)));
  return short(hash.digest("hex"));
}

/** The same for an image made of files, whose plan names their state. */
export function filesKey({ config }: FilesSource, planKey: string): string {
  return short(
    createHash("sha256")
      .update(JSON.stringify([RECIPE, config, planKey]))
      .digest("hex"),
  );
}

/** The same for an image that is pulled: its reference names a release. */
export function officialKey(reference: string): string {
  return short(
    createHash("sha256")
      .update(JSON.stringify([RECIPE, reference]))
      .digest("hex"),
  );
}

/** The folders of a package and of those of the workspace that it needs at run time. */
export async function packageClosure(root: string, name: string, seen: Set<string> = new Set()): Promise<ReadonlySet<string>> {
  if (seen.has(name)) return seen;
  seen.add(name);
  const { dependencies = {} } = JSON.parse(await readFile(join(root, "packages", name, "package.json"), "utf8"));
  for (const [dependency, version] of Object.entries<string>(dependencies)) {
    if (version.startsWith("workspace:")) await packageClosure(root, dependency.replace(/^@aibrix\//, ""), seen);
  }
  return seen;
}

async function sourceFiles(root: string, folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !NOT_BUILT.has(entry.name)) files.push(...(await sourceFiles(root, path)));
    else if (entry.isFile() && !entry.name.endsWith(".test.ts")) files.push(path);
  }
  return files;
}

function short(hex: string): string {
  return hex.slice(0, 16);
}

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PartContext } from "../parts/part-context.ts";
import type { NpmSettings } from "./npm-settings.ts";
import type { Layout } from "./oci/layout.ts";

/** One target of the Dockerfile. */
export interface Build {
  /** The checkout. */
  readonly root: string;
  readonly target: string;
  readonly args: Readonly<Record<string, string>>;
  readonly nodeImage: string;
  readonly npm: NpmSettings;
}

/** A program that builds images from a Dockerfile. */
export interface Builder {
  readonly name: "docker" | "podman" | "buildah";
  /** Takes the image of a layout, named `DIR:NAME`, into its store. @returns what a Dockerfile's FROM calls it then */
  readonly importBase?: (image: string, context: PartContext) => Promise<string>;
  /** Builds a target and puts it into the layout under this name. */
  build(build: Build, layout: Layout, ref: string, context: PartContext): Promise<void>;
  /** Pushes the image of a layout, named `DIR:NAME`, to a registry with the login that this program has for it. */
  publish(image: string, destination: string, context: PartContext): Promise<void>;
  /** Pulls a finished image from its registry and puts it into the layout under this name. */
  pull(image: string, layout: Layout, ref: string, context: PartContext): Promise<void>;
}

/** Writes the secrets of a build into a folder that only this user can read, and removes it after. */
export async function withSecrets<T>({ npmrc, caFile }: NpmSettings, work: (flags: readonly string[]) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-build-"));
  try {
    const file = join(dir, "npmrc");
    await writeFile(file, npmrc, { mode: 0o600 });
    return await work([`--secret=id=npmrc,src=${file}`, ...(caFile === undefined ? [] : [`--secret=id=ca,src=${caFile}`])]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The flags that say what to build, the same for every builder. */
export function buildFlags({ target, args, nodeImage }: Build): readonly string[] {
  const all = { NODE_IMAGE: nodeImage, ...args };
  return [`--target=${target}`, ...Object.entries(all).map(([name, value]) => `--build-arg=${name}=${value}`)];
}

import type { PartContext } from "../parts/part-context.ts";
import type { Tree } from "./oci/assemble.ts";
import type { ContainerConfig } from "./oci/types.ts";

/** An image: what it is called where it is used, and where it comes from. */
export interface ImageSpec {
  /** For people and for `--only`; unique. */
  readonly name: string;
  /** Repository and tag as manifests say them, without the registry: `aibrix/runtime:v0.2.1`. */
  readonly references: readonly string[];
  readonly source: DockerfileSource | FilesSource;
}

/** A target of the project's Dockerfile. */
export interface DockerfileSource {
  readonly kind: "dockerfile";
  readonly target: string;
  /** Folder in `packages/` that the target holds; it is built again when this or a package that it depends on changes. */
  readonly package: string;
  readonly args: Readonly<Record<string, string>>;
}

/** An image that is put together from files of this machine: nothing runs in it while it is made, so no builder is needed. */
export interface FilesSource {
  readonly kind: "files";
  /** The image of docker.io that it stands in for, which is taken where it can be had. */
  readonly official?: string;
  readonly config: ContainerConfig;
  readonly plan: (context: PartContext) => Promise<FilesPlan>;
}

export interface FilesPlan {
  /** Changes whenever the image's content does. */
  readonly key: string;
  /** Puts what must be copied into `root`, an empty folder. @returns one layer each, the lowest first */
  readonly stage: (root: string) => Promise<readonly Tree[]>;
}

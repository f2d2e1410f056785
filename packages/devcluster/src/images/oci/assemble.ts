import { spawn } from "node:child_process";
import { once } from "node:events";
import { PartError } from "../../parts/part-context.ts";
import type { Layout } from "./layout.ts";
import { machineArchitecture } from "./platform.ts";
import { CONFIG_TYPE, type ContainerConfig, type Descriptor, LAYER_TYPE, MANIFEST_TYPE } from "./types.ts";

/** The content of a folder, put at a place in the image. */
export interface Tree {
  readonly from: string;
  /** Absolute path in the image; `/` for the root. */
  readonly to: string;
  /** Names in `from` to take; all by default. */
  readonly only?: readonly string[];
}

/**
 * Packs folders as a layer. All files belong to root, and the same files give the same bytes, whoever packs them and when.
 * Their times are kept: Python takes its compiled files for stale when the source's time is another.
 * @throws PartError when GNU tar is missing or fails.
 */
export async function packLayer(layout: Layout, tree: Tree, signal: AbortSignal): Promise<Descriptor> {
  const prefix = tree.to.replace(/^\/+|\/+$/g, "");
  const argv = [
    "--create",
    "--sort=name",
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    // Names of entries and of hard links, never what a symbolic link points at.
    ...(prefix === "" ? [] : [`--transform=flags=rh;s,^\\./,${prefix}/,;s,^\\.$,${prefix},`]),
    "--directory",
    tree.from,
    ...(tree.only ?? ["."]).map((name) => (name === "." ? "." : `./${name}`)),
  ];
  const child = spawn("tar", argv, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
    signal,
    killSignal: "SIGKILL",
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk));
  const ended = once(child, "close");
  const [layer, [code]] = await Promise.all([layout.write(LAYER_TYPE, child.stdout, signal), ended]);
  if (code !== 0) throw new PartError(`GNU tar could not pack ${tree.from} (${code}): ${errors.trim()}`);
  return layer;
}

/** Makes an image out of layers, the lowest first, and names it. */
export async function assembleImage(
  layout: Layout,
  ref: string,
  layers: readonly Descriptor[],
  config: ContainerConfig,
): Promise<Descriptor> {
  const document = {
    architecture: machineArchitecture(),
    os: "linux",
    config,
    // Layers are not compressed, so their digests are those of their content.
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    // buildah refuses a base whose history does not tell of each layer.
    history: layers.map(() => ({ created_by: "npm run images" })),
  };
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config: await layout.writeJson(CONFIG_TYPE, document), layers };
  return layout.name(ref, await layout.writeJson(MANIFEST_TYPE, manifest));
}

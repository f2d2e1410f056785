import { resolve } from "node:path";
import { UsageError } from "../stack/errors.ts";
import { type Command, readFlags } from "../stack/flags.ts";
import { clusterImages, DEV_IMAGES, ownImages } from "./catalog.ts";
import { ensureImages, type ImagesContext, type ReadyImage, writeArchive } from "./ensure-images.ts";
import { NODE_IMAGE } from "./node-base.ts";
import type { ImageSpec } from "./spec.ts";

/** What `npm run images` was asked for. */
export interface ImagesOptions {
  readonly wanted: readonly ImageSpec[];
  /** As {@link ensureImages} takes it. */
  readonly registry: string | undefined;
  /** A file, absolute. */
  readonly archive: string | undefined;
  readonly nodeImage: string | undefined;
}

export const IMAGES_COMMAND: Command = {
  usage: "npm run images -- [flags]",
  about: `Builds the images of the Dockerfile with docker, podman or buildah, whichever is there. What did not change is not built again.
Images: ${[...ownImages(), ...DEV_IMAGES].map(({ name }) => name).join(", ")}.`,
  flags: {
    only: {
      type: "string",
      value: "NAME",
      multiple: true,
      help: "Build this image; may be repeated. Without it: those that are installed.",
    },
    engine: { type: "string", value: "mock|vllm", help: "Build all images of a cluster on this machine, with this engine." },
    tag: { type: "string", value: "TAG", default: "dev", help: "Tag of the images that are installed." },
    push: {
      type: "string",
      value: "PREFIX",
      help: "Push to a registry, PREFIX before the names: HOST/FOLDER where docker, podman or buildah is logged in, or http://HOST:PORT.",
    },
    archive: { type: "string", value: "FILE", help: "Write one archive that docker, podman, containerd and kind load." },
    "node-image": { type: "string", value: "IMAGE", default: NODE_IMAGE, help: "What the images are built on." },
  },
};

/**
 * @param cwd - where relative paths start
 * @returns `undefined` where `--help` was asked for
 * @throws {@link UsageError} that names the flag and what to write instead
 */
export function readImagesOptions(argv: readonly string[], cwd: string): ImagesOptions | undefined {
  const values = readFlags(IMAGES_COMMAND, argv);
  if (values === undefined) return undefined;
  const text = (name: string) => (typeof values[name] === "string" ? values[name] : undefined);
  const only = Array.isArray(values.only) ? (values.only as readonly string[]) : [];
  const archive = text("archive");
  const push = text("push");
  return {
    wanted: choose(only, text("engine"), text("tag")),
    registry: push === undefined ? undefined : registryPrefix(push),
    archive: archive === undefined ? undefined : resolve(cwd, archive),
    nodeImage: text("node-image"),
  };
}

function choose(only: readonly string[], engine: string | undefined, tag: string | undefined): readonly ImageSpec[] {
  if (engine !== undefined && engine !== "mock" && engine !== "vllm") throw new UsageError(`--engine=${engine} must be mock or vllm`);
  if (engine !== undefined && only.length > 0)
    throw new UsageError("--engine names all images of a cluster, --only some: leave one of them out");
  if (tag !== undefined && !/^[\w][\w.-]{0,127}$/.test(tag)) throw new UsageError(`--tag=${tag} must be letters, digits, dots and dashes`);
  if (engine !== undefined) return clusterImages(engine);
  const own = ownImages(tag);
  if (only.length === 0) return own;
  const all = [...own, ...DEV_IMAGES];
  return only.map((name) => {
    const spec = all.find((each) => each.name === name);
    if (spec === undefined) throw new UsageError(`--only=${name} must be one of ${all.map((each) => each.name).join(", ")}`);
    return spec;
  });
}

function registryPrefix(value: string): string {
  const prefix = value.replace(/\/+$/, "");
  const url = URL.canParse(prefix) && /^https?:/.test(prefix) ? new URL(prefix) : undefined;
  // Of a registry without a scheme only the form is known here.
  const fits = url === undefined ? /^[\w.-]+(:\d+)?(\/[a-z0-9][a-z0-9._-]*)*$/.test(prefix) : url.username === "" && url.search === "";
  if (!fits) throw new UsageError(`--push=${value} must be such as registry.example.com/aibrix-dev or http://127.0.0.1:5000`);
  return prefix;
}

/** Builds, pushes and archives. @returns the text that tells what there is now */
export async function runImages(options: ImagesOptions, context: ImagesContext): Promise<string> {
  const { wanted, registry, archive, nodeImage } = options;
  const ready = await ensureImages(wanted, registry, { ...context, ...(nodeImage === undefined ? {} : { nodeImage }) });
  if (archive !== undefined) await writeArchive(ready, archive, context);
  const rows = ready.flatMap((image) => image.references.map((reference) => row(image, reference)));
  const width = Math.max(...rows.map(([reference]) => reference.length));
  const lines = rows.map(([reference, size, where]) => `${reference.padEnd(width)}  ${size.padStart(8)}  ${where}`);
  return `${lines.join("\n")}\n`;
}

function row({ size, dir, ref }: ReadyImage, reference: string): readonly [string, string, string] {
  return [reference, `${Math.round(size / 1e6)} MB`, `oci:${dir}:${ref}`];
}

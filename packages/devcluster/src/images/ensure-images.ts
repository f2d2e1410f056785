import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheRoot } from "../parts/cache.ts";
import { withLock } from "../parts/lock.ts";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { withProgress } from "../parts/progress.ts";
import { run } from "../parts/run.ts";
import { WORKSPACE } from "../stack/paths.ts";
import { span } from "../stack/time.ts";
import type { Builder } from "./builder.ts";
import { dockerfileKey, filesKey, officialKey } from "./content-key.ts";
import { findBuilder } from "./find-builder.ts";
import { NODE_IMAGE, reachesDockerHub, standInNodeImage } from "./node-base.ts";
import { type NpmSettings, npmSettings } from "./npm-settings.ts";
import { assembleImage, packLayer } from "./oci/assemble.ts";
import { Layout } from "./oci/layout.ts";
import { pushImage } from "./oci/registry.ts";
import type { Descriptor } from "./oci/types.ts";
import type { DockerfileSource, FilesPlan, FilesSource, ImageSpec } from "./spec.ts";

/** What the making of images depends on. */
export interface ImagesContext extends PartContext {
  /** The checkout that is built; this one by default. */
  readonly root?: string;
  /** The base of the Dockerfile; {@link NODE_IMAGE} or its stand-in by default. */
  readonly nodeImage?: string;
  /** Whether docker.io can be reached; a look at it by default. */
  readonly reachesHub?: (signal: AbortSignal) => Promise<boolean>;
  /** What builds and pulls; what {@link findBuilder} finds by default. */
  readonly builder?: Builder;
}

/** An image that is in the layout `dir` under `ref` now, and in the registry if one was given. */
export interface ReadyImage {
  readonly name: string;
  readonly references: readonly string[];
  /** Of its manifest: `sha256:…`. */
  readonly digest: string;
  /** Bytes of all that it holds. */
  readonly size: number;
  /** The folder that `skopeo copy oci:DIR:REF` and others take. */
  readonly dir: string;
  readonly ref: string;
}

/** Images of other checkouts and of before a change that was taken back are kept too: this many of each name. */
const KEPT = 3;

/**
 * Makes the images that are not there yet or whose content changed, and pushes them to a registry, under each of their references,
 * unless it has them already. What is there costs milliseconds.
 * @param registry - `http://host:port[/prefix]` of a registry that asks for no login, or `host/prefix` of one that docker, podman or
 *   buildah has a login for; `undefined` to push nowhere
 * @throws PartError when an image cannot be made, RegistryError when it cannot be pushed.
 */
export async function ensureImages(
  wanted: readonly ImageSpec[],
  registry: string | undefined,
  context: ImagesContext,
): Promise<readonly ReadyImage[]> {
  const cache = context.cacheDir ?? cacheRoot();
  const lock = { what: "the build of images", log: context.log, signal: context.signal };
  return withLock(join(cache, "locks", "images.lock"), lock, async () => {
    const layout = await Layout.open(join(cache, "images", "layout"));
    const workshop = new Workshop(layout, join(cache, "images"), context);
    const ready: ReadyImage[] = [];
    for (const spec of wanted) {
      const { ref, image, made } = await workshop.ensure(spec);
      const { config, layers } = await layout.manifest(image);
      const size = [config, ...layers].reduce((sum, blob) => sum + blob.size, 0);
      if (made) await keepNewest(layout, spec.name);
      if (registry !== undefined) await workshop.push(ref, image, spec.references, registry);
      ready.push({ name: spec.name, references: spec.references, digest: image.digest, size, dir: layout.dir, ref });
    }
    return ready;
  });
}

/** Writes images as one archive that `ctr images import`, `kind load image-archive`, `docker load` and `podman load` take. */
export async function writeArchive(images: readonly ReadyImage[], file: string, { signal }: PartContext): Promise<void> {
  const dir = await mkdtemp(`${file}-`);
  try {
    const target = await Layout.open(dir);
    const entries = [];
    for (const { dir: from, ref, name, references } of images) {
      const layout = await Layout.open(from);
      const image = await layout.find(ref);
      if (image === undefined) throw new PartError(`the image ${name} is no longer in ${from}: build it again`);
      for (const reference of references) {
        const full = `docker.io/${reference}`;
        entries.push({ layout, image, annotations: { "io.containerd.image.name": full, "org.opencontainers.image.ref.name": full } });
      }
    }
    for (const { layout } of entries.slice(0, 1)) await layout.share(entries, target);
    await run({ argv: ["tar", "-cf", file, "-C", dir, "."] }, signal);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function keepNewest(layout: Layout, name: string): Promise<void> {
  const same = (await layout.names()).filter((ref) => nameOf(ref) === name);
  const old = new Set(same.slice(0, -KEPT));
  await layout.sweep((ref) => !old.has(ref));
}

/** References in the layout read `runtime-dev-0123456789abcdef`. */
function nameOf(ref: string): string {
  return ref.replace(/-[0-9a-f]{16}$/, "");
}

interface Made {
  readonly ref: string;
  readonly image: Descriptor;
  /** Whether it was made now. */
  readonly made: boolean;
}

/** Makes images; what several of them need is found once, and only if one has to be made. */
class Workshop {
  readonly #layout: Layout;
  readonly #dir: string;
  readonly #context: ImagesContext;
  #builder: Promise<Builder> | undefined;
  #hub: Promise<boolean> | undefined;
  #npm: Promise<NpmSettings> | undefined;

  constructor(layout: Layout, dir: string, context: ImagesContext) {
    this.#layout = layout;
    this.#dir = dir;
    this.#context = context;
  }

  async ensure({ name, source }: ImageSpec): Promise<Made> {
    const { root = WORKSPACE, nodeImage = NODE_IMAGE } = this.#context;
    if (source.kind === "dockerfile") {
      const ref = `${name}-${await dockerfileKey(root, source, nodeImage)}`;
      return this.#once(ref, `building the image ${name}`, () => this.#build(source, root, ref));
    }
    if (source.official !== undefined) {
      const { official } = source;
      const ref = `${name}-${officialKey(official)}`;
      // Before the plan, which finds or builds the programs that the image would be made of.
      if ((await this.#layout.find(ref)) !== undefined || (await this.#reachesHub()))
        return this.#once(ref, `pulling ${official}`, () => this.#pull(official, ref));
    }
    const plan = await source.plan(this.#context);
    const ref = `${name}-${filesKey(source, plan.key)}`;
    return this.#once(ref, `making the image ${name}`, () => this.#make(source, plan, ref));
  }

  async push(ref: string, image: Descriptor, references: readonly string[], to: string): Promise<void> {
    const { log, signal } = this.#context;
    const plain = /^https?:/.test(to) ? new URL(to) : undefined;
    for (const reference of references) {
      if (plain === undefined) {
        const builder = await this.#findBuilder();
        const image = `${this.#layout.dir}:${ref}`;
        await withProgress(`pushing ${reference}`, this.#context, () => builder.publish(image, `${to}/${reference}`, this.#context));
        continue;
      }
      const [repository = "", tag = "latest"] = `${plain.pathname}/${reference}`.replace(/^\/+/, "").split(":");
      const startMs = performance.now();
      const done = await pushImage(this.#layout, image, { registry: plain.origin, repository, tag }, signal);
      if (done === "pushed") log(`pushed ${reference} in ${span(performance.now() - startMs)}`);
    }
  }

  async #once(ref: string, what: string, make: () => Promise<void>): Promise<Made> {
    const there = await this.#layout.find(ref);
    if (there !== undefined) return { ref, image: there, made: false };
    await withProgress(what, this.#context, make);
    const image = await this.#layout.find(ref);
    if (image === undefined) throw new PartError(`${what}: it ended well, and the image is not in ${this.#layout.dir}`);
    return { ref, image, made: true };
  }

  async #build(source: DockerfileSource, root: string, ref: string): Promise<void> {
    this.#npm ??= npmSettings(process.env, this.#context.signal);
    const builder = await this.#findBuilder();
    const nodeImage = this.#context.nodeImage ?? (await this.#base(builder));
    const { target, args } = source;
    await builder.build({ root, target, args, nodeImage, npm: await this.#npm }, this.#layout, ref, this.#context);
  }

  async #base(builder: Builder): Promise<string> {
    // Docker's engine has a mirror or a proxy of its own perhaps: it says itself what it cannot have.
    if (builder.importBase === undefined || (await this.#reachesHub())) return NODE_IMAGE;
    return builder.importBase(await standInNodeImage(this.#context), this.#context);
  }

  #reachesHub(): Promise<boolean> {
    const { reachesHub = reachesDockerHub, signal } = this.#context;
    this.#hub ??= reachesHub(signal);
    return this.#hub;
  }

  async #findBuilder(): Promise<Builder> {
    this.#builder ??= this.#context.builder === undefined ? findBuilder(this.#dir, this.#context) : Promise.resolve(this.#context.builder);
    return this.#builder;
  }

  async #pull(official: string, ref: string): Promise<void> {
    const builder = await this.#findBuilder();
    await builder.pull(official, this.#layout, ref, this.#context);
  }

  async #make({ config }: FilesSource, plan: FilesPlan, ref: string): Promise<void> {
    const { signal } = this.#context;
    await mkdir(this.#dir, { recursive: true });
    const root = await mkdtemp(join(this.#dir, "root-"));
    try {
      await chmod(root, 0o755);
      const trees = await plan.stage(root);
      const layers: Descriptor[] = [];
      for (const tree of trees) layers.push(await packLayer(this.#layout, tree, signal));
      await assembleImage(this.#layout, ref, layers, config);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  }
}

import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { ensureImages, ownImages } from "@aibrix/devcluster";
import { vi } from "vitest";
import { stringify } from "yaml";
import { ROOT, run } from "./cli.ts";
import { models } from "./client.ts";
import { type Platform, READY_MS } from "./platform.ts";

/** What runs on the cluster for all other stories. */
const DEV = "deploy/overlays/dev";
const IMAGES = ["controller-manager", "gateway-plugins"];
/** A minute or two, where nobody else builds. */
const IMAGES_MS = 900_000;
/** What the Deployments of the platform are called, with their namespaces. */
export const PLUGINS = { namespace: "aibrix-system", name: "aibrix-gateway-plugins" } as const;
export const MANAGER = { namespace: "aibrix-system", name: "aibrix-controller-manager" } as const;
export const ENVOY = { namespace: "envoy-gateway-system", name: "envoy-aibrix-system-aibrix-eg-903790dc" } as const;

/** A folder with a user's own kustomizations, on top of an overlay and of samples: they name the images, and edit nothing. Beside it is the checkout. */
export class Site {
  readonly dir: string;
  readonly #parent: string;

  /** @param deploy - the folder `deploy` of some checkout, @param tag - of the images */
  constructor(overlay: "default" | "ha", { deploy = join(ROOT, "deploy"), tag = "dev" } = {}) {
    this.#parent = realpathSync(mkdtempSync(join(tmpdir(), "aibrix-site-")));
    symlinkSync(ROOT, join(this.#parent, "aibrix"));
    this.dir = join(this.#parent, "site");
    mkdirSync(join(this.dir, "walk-through"), { recursive: true });
    // As it is printed, but for where the images are.
    const walkThrough = printed("install", /aibrix\/runtime/, "yaml")
      .replaceAll("registry.example.com/", "")
      .replaceAll("v0.1.0", tag);
    writeFileSync(join(this.dir, "walk-through/kustomization.yaml"), walkThrough);
    const kustomization = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: [relative(this.dir, realpathSync(join(deploy, "overlays", overlay)))],
      images: IMAGES.map((name) => ({ name: `registry.invalid/aibrix/${name}`, newName: `aibrix/${name}`, newTag: tag })),
    };
    writeFileSync(join(this.dir, "kustomization.yaml"), stringify(kustomization));
  }

  [Symbol.dispose](): void {
    rmSync(this.#parent, { recursive: true, force: true });
  }
}

/** A block in a guide, as it is printed: the one that matches. */
export function printed(guide: "install" | "uninstall", pattern: RegExp, language: "sh" | "yaml" = "sh"): string {
  const text = readFileSync(join(ROOT, `docs/guides/${guide}.md`), "utf8");
  const blocks = [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)].flatMap(([, kind, block = ""]) => (kind === language ? [block] : []));
  const [found, ...others] = blocks.filter((block) => pattern.test(block));
  if (found === undefined || others.length > 0) throw new Error(`not one block of docs/guides/${guide}.md matches ${pattern}`);
  return found;
}

/** Puts back what the other stories expect, over whatever is there. */
export async function putBack(platform: Platform): Promise<void> {
  await platform.kubectl("apply", "--server-side", "-k", DEV);
  await settled(platform);
  await platform.rolledOut("hub", "aibrix-dev");
  await platform.rolledOut("s3", "aibrix-dev");
}

/** Waits until the platform's Deployments are as they are wished, no pod of before is left, and the gateway answers. */
export async function settled(platform: Platform): Promise<void> {
  await platform.kubectl("wait", "-n", "aibrix-system", "gateway/aibrix-eg", "--for=condition=Programmed", `--timeout=${READY_MS / 1000}s`);
  for (const { name, namespace } of [MANAGER, PLUGINS, ENVOY]) await platform.rolledOut(name, namespace);
  await vi.waitFor(async () => void (await models(platform.gateway)), { timeout: READY_MS, interval: 250 });
}

/** A checkout of this repository as it was. */
interface Earlier {
  readonly commit: string;
  readonly root: string;
}

/**
 * The repository as it was before the last commit that changed `deploy`, in a new folder below `dir`.
 * @returns why not, where the checkout does not know that commit
 */
export async function earlier(dir: string): Promise<Earlier | string> {
  const git = async (...args: readonly string[]) =>
    await run("git", args, 60_000).catch((error: Error) => ({ code: 1, output: error.message }));
  const last = await git("log", "-1", "--format=%H", "--", "deploy");
  if (last.code !== 0) return `git does not know this checkout: ${last.output.trim()}`;
  const before = await git("rev-parse", "--verify", "--quiet", `${last.output.trim()}^`);
  if (before.code !== 0) return "the checkout has no older commit (git fetch --unshallow gets them)";
  const commit = before.output.trim();
  const root = join(dir, "before");
  mkdirSync(root);
  const { code, output } = await run("bash", ["-ec", `set -o pipefail; git archive ${commit} | tar -x -C '${root}'`], 60_000);
  if (code !== 0) throw new Error(`git archive ${commit}: ${output}`);
  return { commit, root };
}

/** Builds the images of another checkout, unless they are there, and pushes them for the cluster as `aibrix/NAME:tag`. */
export async function imagesOf({ root }: Earlier, { registry }: Platform, tag: string): Promise<void> {
  const wanted = ownImages(tag).filter(({ name }) => name !== "mock-engine");
  await ensureImages(wanted, registry, { root, log: console.log, signal: AbortSignal.timeout(IMAGES_MS) });
}

// The bootstrap imports this file before anything is installed: it and what it imports use Node's own modules alone.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { ensureKubernetes } from "../kubernetes/binaries.ts";
import { ensureNodeParts } from "../kubernetes/node/programs.ts";
import { span } from "../stack/time.ts";
import { cacheRoot, ensureCached } from "./cache.ts";
import { ensureEnvoy } from "./envoy.ts";
import { ensureEnvoyGateway, ensureHelm } from "./envoy-gateway.ts";
import { ensureFakeGcs } from "./fake-gcs.ts";
import { ensureGatewayBench } from "./gateway-bench.ts";
import { withLock } from "./lock.ts";
import { ensureNginx } from "./nginx.ts";
import type { PartContext } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { ensurePythonClients } from "./python-clients.ts";
import { run } from "./run.ts";
import { ensureS5cmd } from "./s5cmd.ts";
import { ensureVersitygw } from "./versitygw.ts";
import { ensureVllm } from "./vllm.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** A real part that tests start. */
type PartName =
  | "cluster-node"
  | "envoy"
  | "envoy-gateway"
  | "fake-gcs"
  | "gateway-bench"
  | "helm"
  | "kubernetes"
  | "nginx"
  | "python-clients"
  | "s5cmd"
  | "versitygw"
  | "vllm";

/** What a command needs before it can run. */
export interface WorkspaceNeeds {
  /** The checkout's folder. */
  readonly root: string;
  readonly build: boolean;
  readonly parts: readonly PartName[];
  /** Installs one npm package into a folder of its own. */
  readonly npmInstall: (what: string, dir: string, spec: string, signal: AbortSignal) => Promise<void>;
}

const PARTS: Readonly<Record<PartName, (context: PartContext) => Promise<unknown>>> = {
  "cluster-node": ensureNodeParts,
  envoy: ensureEnvoy,
  "envoy-gateway": ensureEnvoyGateway,
  "fake-gcs": ensureFakeGcs,
  "gateway-bench": ensureGatewayBench,
  helm: ensureHelm,
  kubernetes: ensureKubernetes,
  nginx: ensureNginx,
  "python-clients": ensurePythonClients,
  s5cmd: ensureS5cmd,
  versitygw: ensureVersitygw,
  vllm: ensureVllm,
};

/**
 * Gets pnpm, installs the libraries, builds the packages where that is needed, and gets the real parts; each only where it is not there
 * already, and in silence then.
 * @returns the environment in which the workspace's programs run: with this Node and pnpm first on PATH.
 */
export async function prepareWorkspace(needs: WorkspaceNeeds, context: PartContext): Promise<Env> {
  const { root } = needs;
  const pnpm = await cachedPnpm(needs, context);
  const path = [dirname(process.execPath), dirname(pnpm), process.env.PATH ?? ""].join(delimiter);
  const env = { ...process.env, PATH: path, TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1" };
  const checkout = createHash("sha256").update(root).digest("hex").slice(0, 16);
  const lock = join(context.cacheDir ?? cacheRoot(), "locks", `checkout-${checkout}.lock`);
  await withLock(lock, { what: "the build of this checkout", log: context.log, signal: context.signal }, async () => {
    await install(root, pnpm, env, context);
    if (needs.build) await build(root, env, context);
  });
  await ensureParts(needs.parts, context);
  return env;
}

async function cachedPnpm(needs: WorkspaceNeeds, context: PartContext): Promise<string> {
  const { packageManager } = JSON.parse(await readFile(join(needs.root, "package.json"), "utf8"));
  const version = /^pnpm@([\d.]+)/.exec(packageManager)?.[1];
  if (version === undefined) throw new Error(`package.json: packageManager names no version of pnpm: ${packageManager}`);
  const dir = await ensureCached({ name: "pnpm", version, recipe: 1 }, context, (target) =>
    needs.npmInstall(`pnpm ${version}`, target, `pnpm@${version}`, context.signal),
  );
  return join(dir, "node_modules", ".bin", "pnpm");
}

/** `pnpm install`, unless the lock file and every package.json are those of the last one. */
async function install(root: string, pnpm: string, env: Env, context: PartContext): Promise<void> {
  const stamp = join(root, "node_modules", ".aibrix-install");
  const wanted = await installFingerprint(root);
  if ((await readFile(stamp, "utf8").catch(() => "")) === wanted) return;
  const argv = [pnpm, "install", "--frozen-lockfile", "--prefer-offline"] as const;
  // CI: never ask a question that nobody sees.
  await withProgress("installing libraries", context, () => run({ argv, cwd: root, env: { ...env, CI: "true" } }, context.signal));
  await writeFile(stamp, wanted);
}

async function installFingerprint(root: string): Promise<string> {
  const packages = (await readdir(join(root, "packages"))).sort().map((name) => join("packages", name));
  const files = ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...[".", "e2e", ...packages].map((dir) => join(dir, "package.json"))];
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0`).update(await readFile(join(root, file)).catch(() => ""));
  return hash.digest("hex");
}

/** `turbo run build`. Whether there is anything to do shows at its end: until then a line only when it takes long. */
async function build(root: string, env: Env, context: PartContext): Promise<void> {
  const startMs = performance.now();
  const note = setTimeout(() => context.log("building the packages ..."), 1500);
  try {
    const argv = [join(root, "node_modules", ".bin", "turbo"), "run", "build", "--output-logs=errors-only"] as const;
    const output = await run({ argv, cwd: root, env, tailLines: 500 }, context.signal);
    const [, cached, total] = /Cached:\s+(\d+) cached, (\d+) total/.exec(output) ?? [];
    if (cached === undefined || cached !== total) context.log(`building the packages: done in ${span(performance.now() - startMs)}`);
  } finally {
    clearTimeout(note);
  }
}

/** All at once; when one cannot be had the others are ended. */
async function ensureParts(names: readonly PartName[], context: PartContext): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const all = names.map((name) => PARTS[name]({ ...context, signal }));
  try {
    await Promise.all(all);
  } finally {
    stop.abort();
    await Promise.allSettled(all);
  }
}

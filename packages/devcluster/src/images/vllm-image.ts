import { chmod, cp, mkdir, readdir, readFile, realpath, stat, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { findOnPath } from "../parts/find.ts";
import { type PartContext, PartError } from "../parts/part-context.ts";
import { run } from "../parts/run.ts";
import { ensureVllm } from "../parts/vllm.ts";
import { CPU_ENVIRONMENT, loraFlags, SMALL_MODEL_FLAGS } from "../parts/vllm-serve.ts";
import { copyLibraries, copyProgram, IMAGE_USER, writeRootFiles } from "./closure.ts";
import type { FilesPlan, FilesSource } from "./spec.ts";

const PYTHON_HOME = "/opt/python";
const VENV = "/opt/vllm";
/** Parts of Python's library that no server needs. */
const UNNEEDED = new Set(["site-packages", "dist-packages", "test", "idlelib", "ensurepip", "tkinter", "turtledemo", "lib2to3"]);

/**
 * A real vLLM for a CPU, out of the environment that this machine has or installs: Linux on x86-64 only.
 * What starts vLLM's server in it gets the flags of a small model, where it gives none itself.
 */
export function vllmSource(hub: string): FilesSource {
  const env = {
    PATH: `/usr/local/bin:${VENV}/bin:/usr/bin:/bin`,
    HOME: "/tmp",
    USER: "nonroot",
    HF_ENDPOINT: hub,
    PYTHONDONTWRITEBYTECODE: "1",
  };
  return {
    kind: "files",
    config: {
      User: IMAGE_USER,
      Env: Object.entries({ ...env, ...CPU_ENVIRONMENT }).map(([name, value]) => `${name}=${value}`),
      Entrypoint: ["/usr/local/bin/vllm", "serve"],
      WorkingDir: "/tmp",
    },
    plan: async (context) => plan((await ensureVllm(context)).bin, context),
  };
}

/** What a Python says of itself. */
interface PythonFacts {
  readonly version: string;
  readonly stdlib: string;
  readonly sitePackages: string;
}

async function plan(bin: string, context: PartContext): Promise<FilesPlan> {
  const { signal } = context;
  const venv = dirname(dirname(bin));
  const settings = await readFile(join(venv, "pyvenv.cfg"), "utf8").catch(() => {
    throw new PartError(
      `${bin} is not in a Python environment of its own (pyvenv.cfg is missing): an image can be made of such a one only`,
    );
  });
  const { mtimeMs } = await stat(bin);
  return {
    key: JSON.stringify([venv, settings, mtimeMs, launcher()]),
    stage: async (root) => {
      const python = join(venv, "bin", "python");
      const facts = await askPython(python, signal);
      await writeRootFiles(root);
      await stagePython(await realpath(python), facts, venv, root, signal);
      await stageTools(root, signal);
      const stdlib = (await readdir(facts.stdlib)).filter((name) => !UNNEEDED.has(name)).sort();
      return [
        { from: root, to: "/" },
        { from: facts.stdlib, to: join(PYTHON_HOME, "lib", `python${facts.version}`), only: stdlib },
        { from: facts.sitePackages, to: join(VENV, "lib", `python${facts.version}`, "site-packages") },
      ];
    },
  };
}

async function askPython(python: string, signal: AbortSignal): Promise<PythonFacts> {
  const code = `import json, sys, sysconfig
print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "stdlib": sysconfig.get_path("stdlib"), "sitePackages": sysconfig.get_path("purelib")}))`;
  return JSON.parse(await run({ argv: [python, "-c", code], timeoutMs: 60_000 }, signal));
}

/** The interpreter, an environment that uses it, and every library of the system that they are linked to. */
async function stagePython(program: string, facts: PythonFacts, venv: string, root: string, signal: AbortSignal): Promise<void> {
  const home = join(PYTHON_HOME, "bin");
  await copyProgram(program, root, join(home, basename(program)), signal);
  await mkdir(join(root, VENV, "bin"), { recursive: true });
  await writeFile(join(root, VENV, "pyvenv.cfg"), `home = ${home}\ninclude-system-site-packages = false\n`);
  for (const name of ["python", "python3"]) await symlink(join(home, basename(program)), join(root, VENV, "bin", name));
  await mkdir(join(root, "usr/local/bin"), { recursive: true });
  for (const name of ["python3", "vllm"]) {
    await writeFile(join(root, "usr/local/bin", name), launcher());
    await chmod(join(root, "usr/local/bin", name), 0o755);
  }
  const libraries = [...(await sharedObjects(facts.sitePackages)), ...(await sharedObjects(join(facts.stdlib, "lib-dynload")))];
  await copyLibraries(libraries, root, signal, venv);
}

async function sharedObjects(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => /\.so(\.\d+)*$/.test(name)).map((name) => join(folder, name));
}

/** Python's libraries and vLLM ask a shell and `lscpu` about the machine. */
async function stageTools(root: string, signal: AbortSignal): Promise<void> {
  for (const name of ["sh", "lscpu"]) {
    const program = await findOnPath(name);
    if (program !== undefined) await copyProgram(program, root, join("/usr/bin", name), signal);
  }
  await mkdir(join(root, "bin"), { recursive: true });
  await cp(join(root, "usr/bin/sh"), join(root, "bin/sh"));
}

/** The `python3` and the `vllm` of the image, which add what a small machine needs and hand over to the real ones. */
export function launcher(): string {
  const flags = [["--distributed-executor-backend", "uni"], ...SMALL_MODEL_FLAGS, ...loraFlags({})].map((flag) => flag.map(String));
  return `#!${VENV}/bin/python -I
import json, os, sys

# Added to the command lines of vLLM's server that do not have them.
FLAGS = json.loads('${JSON.stringify(flags)}')
PYTHON = "${VENV}/bin/python"

args = sys.argv[1:]
if os.path.basename(sys.argv[0]) == "vllm":
    server = args[:1] == ["serve"]
    args = ["-m", "vllm.entrypoints.cli.main", *args]
else:
    server = args[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
if server:
    given = {word.split("=")[0].replace("_", "-") for word in args}
    args += [word for flag in FLAGS if flag[0] not in given for word in flag]
os.execv(PYTHON, [PYTHON, *args])
`;
}

import { PartError } from "./part-context.ts";
import { ask } from "./run.ts";

/** A Python interpreter that has pip. */
export interface Python {
  readonly bin: string;
  readonly major: number;
  readonly minor: number;
}

/** Plain `python3` first: it is what the machine prefers. */
const CANDIDATES = ["python3", "python3.11", "python3.12", "python3.13"];

/**
 * The first Python 3 on PATH that has pip and a minor version in `minors` (any, where it is left out).
 * @throws PartError naming what to install.
 */
export async function findPython(purpose: string, minors: readonly number[] | undefined, signal: AbortSignal): Promise<Python> {
  for (const bin of CANDIDATES) {
    const python = await inspectPython(bin, signal);
    if (python === undefined || (minors !== undefined && !minors.includes(python.minor))) continue;
    if ((await ask([bin, "-m", "pip", "--version"], signal)) !== undefined) return python;
  }
  const which = minors === undefined ? "Python 3" : `Python ${minors.map((minor) => `3.${minor}`).join(", ")}`;
  throw new PartError(
    `${purpose} needs ${which} with pip, and none was found on PATH. Install it (Debian: apt install python3 python3-pip)`,
  );
}

async function inspectPython(bin: string, signal: AbortSignal): Promise<Python | undefined> {
  const answer = await ask([bin, "-c", "import sys; print(sys.executable, *sys.version_info[:2], sep='\\n')"], signal);
  const [executable, major, minor] = answer?.trim().split("\n") ?? [];
  if (!executable || major !== "3" || minor === undefined) return undefined;
  return { bin: executable, major: 3, minor: Number(minor) };
}

/** Arguments of a quiet `pip install` into a folder, without a look at what is installed elsewhere. */
export function pipInstall(python: Python, target: string, ...requirements: readonly string[]): readonly [string, ...string[]] {
  const flags = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"];
  return [python.bin, "-m", "pip", "install", ...flags, "--no-deps", "--target", target, ...requirements];
}

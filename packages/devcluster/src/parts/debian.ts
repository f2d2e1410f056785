import { join } from "node:path";
import { findInFolders, findOnPath } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { CommandError, run } from "./run.ts";

/** A program that the system's package manager brings. */
export interface SystemProgram {
  readonly name: string;
  /** Debian package that holds it. */
  readonly package: string;
  /** Where it is looked for; PATH and the system's folders by default. */
  readonly folders?: readonly string[];
}

/** A user's PATH often leaves these out. */
const SYSTEM_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
const APT_TIMEOUT_MS = 15 * 60_000;

/**
 * Finds the programs; where some are missing, installs their packages on Debian and its relatives as root.
 * @returns the programs' paths by name
 * @throws PartError naming what is missing and the packages to install.
 */
export async function ensureSystemPrograms(wanted: readonly SystemProgram[], context: PartContext): Promise<Record<string, string>> {
  const before = await findAll(wanted);
  if (before.missing.length === 0) return before.found;
  const packages = packagesOf(before.missing);
  const apt = await findOnPath("apt-get");
  if (apt === undefined || process.getuid?.() !== 0) throw new PartError(missingText(before.missing, apt !== undefined));
  await aptGet([`installing ${packages.join(", ")}`, "install", "-y", "-q", "--no-install-recommends", ...packages], undefined, context);
  const after = await findAll(wanted);
  if (after.missing.length > 0) throw new PartError(missingText(after.missing, true));
  return after.found;
}

/**
 * Unpacks a Debian package into a folder without installing it: nothing is set up, no service is started.
 * @throws PartError where there is no apt-get, or the package cannot be had.
 */
export async function unpackDebian(name: string, dir: string, context: PartContext): Promise<void> {
  if ((await findOnPath("apt-get")) === undefined) throw new PartError(`there is no apt-get to fetch ${name} with`);
  await aptGet([`fetching ${name}`, "download", "-q", name], dir, context);
  await run({ argv: ["sh", "-c", 'dpkg-deb -x "$1"_*.deb . && rm "$1"_*.deb', "sh", name], cwd: dir }, context.signal);
}

/** Lists of packages can be missing or old, so a failure is tried once more with fresh ones. */
async function aptGet([what, ...args]: readonly [string, ...string[]], cwd: string | undefined, context: PartContext): Promise<void> {
  const call = (words: readonly string[]) =>
    run(
      {
        argv: ["apt-get", ...words],
        env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
        timeoutMs: APT_TIMEOUT_MS,
        tailLines: 8,
        ...(cwd === undefined ? {} : { cwd }),
      },
      context.signal,
    );
  await withProgress(what, context, async () => {
    try {
      await call(args);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      context.log("reading the lists of Debian packages anew ...");
      await call(["update", "-q"]);
      await call(args);
    }
  });
}

async function findAll(wanted: readonly SystemProgram[]): Promise<{ found: Record<string, string>; missing: SystemProgram[] }> {
  const found: Record<string, string> = {};
  const missing: SystemProgram[] = [];
  for (const program of wanted) {
    const path = await (program.folders === undefined
      ? ((await findOnPath(program.name)) ?? findInFolders(program.name, SYSTEM_FOLDERS))
      : findInFolders(program.name, program.folders));
    if (path === undefined) missing.push(program);
    else found[program.name] = path;
  }
  return { found, missing };
}

function packagesOf(programs: readonly SystemProgram[]): string[] {
  return [...new Set(programs.map((p) => p.package))].sort();
}

/** What is missing, where it was looked for, and how to get it. Pure. */
export function missingText(missing: readonly SystemProgram[], debian: boolean): string {
  const names = missing.map(({ name, folders }) => (folders === undefined ? name : join(folders[0] ?? "", name)));
  const packages = packagesOf(missing).join(" ");
  const remedy = debian
    ? `Install them as root: apt-get install --no-install-recommends ${packages}`
    : `Install what your system has in place of Debian's packages ${packages}`;
  return `these programs are not on this machine: ${names.join(", ")}. ${remedy}.`;
}

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type DynamicSymbol, type ElfFacts, readElf } from "./elf.ts";
import { run } from "./run.ts";

/** A library to stand in for one that is not there. */
export interface Stub {
  /** Its name as others link to it (soname). */
  readonly library: string;
  readonly symbols: readonly DynamicSymbol[];
}

/** Libraries of the system, and the GPU driver: its absence is what tells torch that there is no GPU. */
const NEVER_STUBBED = /^(lib(pthread|m|dl|c|rt|stdc\+\+|gcc_s|cuda)\.so|ld-linux)/;

/** Names of CUDA's interfaces; whatever else is unresolved comes from the system. */
const CUDA_NAME = /^p?(cu|nv|nccl)/i;

/**
 * Decides which libraries are missing, and which symbols each must have so that everything links. Pure.
 * @param present names of the libraries that can be found
 */
export function planStubs(libraries: readonly ElfFacts[], present: ReadonlySet<string>): readonly Stub[] {
  const missing = [...new Set(libraries.flatMap((facts) => facts.needed))]
    .filter((name) => !present.has(name) && !NEVER_STUBBED.test(name))
    .sort();
  const defined = new Set(libraries.flatMap((facts) => facts.defined));
  const symbolsOf = new Map<string, Map<string, DynamicSymbol>>(missing.map((name) => [name, new Map()]));
  for (const facts of libraries) {
    for (const symbol of facts.undefined) {
      // A symbol without a version is looked up in all loaded libraries: any stub will do, so the first has them all.
      const loose = symbol.version === "" && !defined.has(symbol.name) && CUDA_NAME.test(symbol.name);
      const library = loose ? missing[0] : facts.versionFrom.get(symbol.version);
      if (library !== undefined) symbolsOf.get(library)?.set(`${symbol.name}@${symbol.version}`, symbol);
    }
  }
  return missing.map((library) => ({ library, symbols: [...(symbolsOf.get(library)?.values() ?? [])] }));
}

/** C source of a stub: every function says its name and ends the process, should anything ever call it. */
export function stubSource(stub: Stub): string {
  const names = [...new Set(stub.symbols.map((symbol) => symbol.name))].sort();
  return `#include <stdio.h>
#include <stdlib.h>
static void called(const char *name) {
  fprintf(stderr, "%s of ${stub.library} was called, and only a stand-in is here\\n", name);
  abort();
}
${names.map((name) => `void ${name}(void) { called("${name}"); }`).join("\n")}
`;
}

/** The linker's version script of a stub, or undefined where no symbol has a version. */
export function versionScript(stub: Stub): string | undefined {
  const byVersion = Map.groupBy(
    stub.symbols.filter((symbol) => symbol.version !== ""),
    (symbol) => symbol.version,
  );
  if (byVersion.size === 0) return undefined;
  const names = (symbols: readonly DynamicSymbol[]): string => symbols.map((symbol) => `${symbol.name};`).join(" ");
  return [...byVersion].map(([version, symbols]) => `${version} { global: ${names(symbols)} };\n`).join("");
}

/**
 * Writes stand-ins for the CUDA libraries that torch is linked to, into torch's own library folder, where it looks first.
 * torch for Linux is a CUDA build; without a GPU nothing calls those libraries, but the loader wants them.
 * @param sitePackages the folder that holds `torch`
 * @throws PartError when gcc or readelf fails.
 */
export async function writeStubLibraries(sitePackages: string, signal: AbortSignal): Promise<readonly string[]> {
  const torchLib = join(sitePackages, "torch", "lib");
  const ours = await sharedObjects(torchLib);
  const extensions = (await sharedObjects(join(sitePackages, "torch"))).filter((path) => basename(path).startsWith("_C"));
  const nvidia = await sharedObjects(join(sitePackages, "nvidia"), true);
  const facts: ElfFacts[] = [];
  for (const path of [...ours, ...extensions]) facts.push(await readElf(path, signal));
  for (const path of nvidia) facts.push({ ...(await readElf(path, signal)), needed: [], undefined: [] });
  const stubs = planStubs(facts, new Set([...ours, ...nvidia].map((path) => basename(path))));
  for (const stub of stubs) await compileStub(stub, torchLib, signal);
  return stubs.map((stub) => stub.library);
}

async function compileStub(stub: Stub, outDir: string, signal: AbortSignal): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "aibrix-stub-"));
  try {
    const source = join(work, "stub.c");
    await writeFile(source, stubSource(stub));
    const script = versionScript(stub);
    if (script !== undefined) await writeFile(join(work, "versions"), script);
    const flags = script === undefined ? [] : [`-Wl,--version-script=${join(work, "versions")}`];
    const out = join(outDir, stub.library);
    // -w: a few names are also built-in functions of gcc with another signature.
    await run({ argv: ["gcc", "-shared", "-fPIC", "-w", `-Wl,-soname,${stub.library}`, ...flags, "-o", out, source] }, signal);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Shared libraries in a folder; none where the folder is missing. */
async function sharedObjects(dir: string, recursive = false): Promise<readonly string[]> {
  const entries = await readdir(dir, { recursive, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile() && /\.so(\.|$)/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

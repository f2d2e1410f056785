import { run } from "./run.ts";

/** What a shared library needs from others and offers itself. */
export interface ElfFacts {
  /** Names of the libraries that it is linked to. */
  readonly needed: readonly string[];
  /** For every symbol version that it asks for, the library that should define it. */
  readonly versionFrom: ReadonlyMap<string, string>;
  /** Functions that it must find elsewhere; weak ones, which may be absent, are left out. */
  readonly undefined: readonly DynamicSymbol[];
  /** Names that it defines. */
  readonly defined: readonly string[];
}

/** A dynamic symbol; `version` is empty where it has none. */
export interface DynamicSymbol {
  readonly name: string;
  readonly version: string;
}

const MAX_OUTPUT_MS = 120_000;

/** Reads a library's dynamic section with binutils' readelf. */
export async function readElf(path: string, signal: AbortSignal): Promise<ElfFacts> {
  const [dynamic, versions, symbols] = await Promise.all(
    ["-dW", "-VW", "--dyn-syms"].map((flag) => run({ argv: ["readelf", flag, "-W", path], timeoutMs: MAX_OUTPUT_MS }, signal)),
  );
  return { needed: parseNeeded(dynamic ?? ""), versionFrom: parseVersions(versions ?? ""), ...parseSymbols(symbols ?? "") };
}

/** Lines such as `0x0000000000000001 (NEEDED)  Shared library: [libc.so.6]`. */
export function parseNeeded(text: string): readonly string[] {
  return [...text.matchAll(/\(NEEDED\).*\[(.+?)\]/g)].flatMap(([, name]) => (name === undefined ? [] : [name]));
}

/** A line `... File: libc.so.6 ...` and below it lines `... Name: GLIBC_2.34  Flags: ...`. */
export function parseVersions(text: string): ReadonlyMap<string, string> {
  const from = new Map<string, string>();
  let file: string | undefined;
  for (const line of text.split("\n")) {
    file = / File: (\S+)/.exec(line)?.[1] ?? file;
    const version = / Name: (\S+)\s+Flags/.exec(line)?.[1];
    if (version !== undefined && file !== undefined) from.set(version, file);
  }
  return from;
}

/** Lines such as `12: 0000000000000000  0 FUNC  GLOBAL DEFAULT  UND cublasCreate_v2@libcublas.so.13 (5)`. */
export function parseSymbols(text: string): Pick<ElfFacts, "undefined" | "defined"> {
  const missing: DynamicSymbol[] = [];
  const defined: string[] = [];
  for (const line of text.split("\n")) {
    const [number, , , , binding, , section, symbol] = line.trim().split(/\s+/);
    if (symbol === undefined || !/^\d+:$/.test(number ?? "")) continue;
    const [name = "", version = ""] = symbol.split(/@+/);
    if (section !== "UND") defined.push(name);
    else if (binding !== "WEAK") missing.push({ name, version });
  }
  return { undefined: missing, defined };
}

import { networkInterfaces } from "node:os";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";

/** Settings that cannot be used; the message names each and what to write. A program prints it and exits with 2. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** One flag: what it takes, its default, and a sentence for `--help`. */
export interface Flag {
  readonly type: "string" | "boolean";
  readonly multiple?: boolean;
  readonly default?: string | boolean;
  /** Name of what it takes, for the help: `PORT`. */
  readonly value?: string;
  readonly help: string;
}

export type FlagValues<F extends Record<string, Flag>> = {
  readonly [K in keyof F]: F[K] extends { type: "boolean" }
    ? boolean
    : F[K] extends { multiple: true }
      ? readonly string[]
      : F[K] extends { default: string }
        ? string
        : string | undefined;
};

/**
 * Reads a program's command line.
 *
 * @returns the values, or `undefined` where `--help` was asked for (the caller prints {@link helpText} and exits with 0)
 * @throws {@link ConfigError} for a flag that is not in the table
 */
export function readFlags<const F extends Record<string, Flag>>(flags: F, argv: readonly string[]): FlagValues<F> | undefined {
  const options: ParseArgsOptionsConfig = { help: { type: "boolean", short: "h" } };
  for (const [name, f] of Object.entries(flags)) {
    options[name] = {
      type: f.type,
      ...(f.multiple === true ? { multiple: true } : {}),
      ...(f.default === undefined ? {} : { default: f.default }),
    };
  }
  try {
    const { values } = parseArgs({ args: [...argv], options, allowPositionals: false });
    if (values.help === true) return undefined;
    const filled = Object.entries(flags).map(([name, f]) => [
      name,
      values[name] ?? (f.type === "boolean" ? false : f.multiple === true ? [] : undefined),
    ]);
    return Object.fromEntries(filled) as FlagValues<F>;
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}\nRun with --help to see every flag.`);
  }
}

/** The text of `--help`. */
export function helpText(usage: string, flags: Record<string, Flag>): string {
  const rows = Object.entries(flags).map(([name, f]) => {
    const left = `  --${name}${f.type === "string" ? `=${f.value ?? "VALUE"}` : ""}`;
    const fallback = f.default === undefined || f.default === "" || f.default === false ? "" : ` (default ${String(f.default)})`;
    return `${left.padEnd(36)} ${f.help}${fallback}`;
  });
  return `${usage}\n\nFlags:\n${rows.join("\n")}\n`;
}

/**
 * What to bind for every address of this machine: `::`, which takes IPv4 too, where it has IPv6 (pods of some clusters have nothing else).
 *
 * @param interfaces - as `os.networkInterfaces` tells them
 */
export function everyAddress(interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces()): "::" | "0.0.0.0" {
  return Object.values(interfaces).some((all) => all?.some(({ family }) => family === "IPv6")) ? "::" : "0.0.0.0";
}

/**
 * Reads `host:port` as Go programs write it: `:8080`, `0.0.0.0:8080`, `[::1]:8080`; `0` switches off.
 *
 * @returns host and port, or `undefined` for `0`
 * @throws {@link ConfigError}
 */
export function readBindAddress(flag: string, value: string): { readonly host: string; readonly port: number } | undefined {
  if (value === "0") return undefined;
  const match = /^(\[[^\]]+\]|[^:]*):(\d{1,5})$/.exec(value);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw new ConfigError(`--${flag}=${value}: write an address such as :8080 or 127.0.0.1:8080`);
  const host = (match[1] ?? "").replace(/^\[|\]$/g, "");
  return { host: host === "" ? everyAddress() : host, port };
}

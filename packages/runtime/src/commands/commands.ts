import { ConfigError } from "@aibrix/service";
import type { Command, CommandIo } from "./command.ts";

/** Every command by its name. Each is read in only when it is called: the sidecar itself must start fast. */
const COMMANDS: Readonly<Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>> = {
  check: {
    summary: "Tell what a load of an artifact would find, without an engine: aibrix_runtime check URL.",
    load: async () => (await import("./check.ts")).check,
  },
  download: {
    summary: "Bring a whole base model here: the same as the command aibrix_download.",
    load: async () => (await import("./download.ts")).download,
  },
};

/** The part of `--help` that lists them. */
export function commandsHelp(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(36)} ${summary}`);
  return `\nCommands (each has a --help):\n${rows.join("\n")}\n`;
}

/**
 * The command that a command line begins with.
 *
 * @returns `undefined` for one that begins with none: the sidecar's
 * @throws ConfigError for a word that is no command
 */
export function findCommand(argv: readonly string[]): ((io: CommandIo, signal: AbortSignal) => Promise<number>) | undefined {
  const [name, ...rest] = argv;
  if (name === undefined || name.startsWith("-")) return undefined;
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (found === undefined)
    throw new ConfigError(`${name}: no such command; write ${Object.keys(COMMANDS).join(" or ")}, or flags only to run the sidecar`);
  return async (io, signal) => await (await found.load())(rest, io, signal);
}

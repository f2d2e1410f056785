#!/usr/bin/env node
import { ConfigError, runMain } from "@aibrix/service";
import type { Command } from "./command.ts";

const PROGRAM = "aibrix_dev_services";

/** Each is loaded when it is asked for: what one of them needs (an S3 client) costs the others no memory. */
const COMMANDS: Readonly<Record<string, { readonly does: string; readonly load: () => Promise<Command> }>> = {
  hub: {
    does: "a local Hugging Face Hub with a tiny base model and tiny adapters",
    load: async () => (await import("./hub.ts")).HUB,
  },
  "s3-content": {
    does: "puts a tiny adapter into an S3 server",
    load: async () => (await import("./s3-content.ts")).S3_CONTENT,
  },
};

const USAGE = `Usage: ${PROGRAM} COMMAND [flags]

Services of a cluster for development. They are not meant for production.

${Object.entries(COMMANDS)
  .map(([name, { does }]) => `  ${name.padEnd(18)}${does}`)
  .join("\n")}

${PROGRAM} COMMAND --help shows a command's flags.
`;

await runMain(PROGRAM, async (signal, log) => {
  const [name = "", ...argv] = process.argv.slice(2);
  if (["--help", "-h", "help"].includes(name)) {
    process.stdout.write(USAGE);
    return;
  }
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (found === undefined) throw new ConfigError(`${name === "" ? "no command" : `no command ${name}`}\n\n${USAGE.trimEnd()}`);
  const command = await found.load();
  if (!(await command.run(argv, signal, log))) process.stdout.write(command.help);
});

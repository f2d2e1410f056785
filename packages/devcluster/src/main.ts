import { IMAGES_COMMAND, readImagesOptions, runImages } from "./images/command.ts";
import { RegistryError } from "./images/oci/registry.ts";
import { PartError } from "./parts/part-context.ts";
import { commandTexts } from "./stack/commands.ts";
import { SUPERVISE_COMMAND, startDetached } from "./stack/detach.ts";
import { StackError, UsageError } from "./stack/errors.ts";
import { COMMANDS, helpText, readFlags } from "./stack/flags.ts";
import { readDir, readStartOptions } from "./stack/options.ts";
import { DEFAULT_DIR, WORKSPACE } from "./stack/paths.ts";
import { Stopped, stopSignal } from "./stack/signals.ts";
import { startHere, superviseDetached } from "./stack/start.ts";
import { stateDir } from "./stack/state-dir.ts";
import { stackStatus } from "./stack/status.ts";
import { statusText } from "./stack/status-text.ts";
import { stopStack } from "./stack/stop.ts";

const USAGE = `usage: aibrix_devcluster start|stop|status|images [flags]; --help after each shows its flags\n`;

/** Runs one command and returns its exit code: 0 done, 1 failed, 2 a command line that cannot be used, 130 interrupted. */
async function run(command: string | undefined, argv: readonly string[]): Promise<number> {
  const bases = { cwd: userFolder(), workspace: WORKSPACE };
  switch (command) {
    case "start":
    case SUPERVISE_COMMAND: {
      const options = readStartOptions(argv, bases);
      if (options === undefined) return help(COMMANDS.start);
      if (command === SUPERVISE_COMMAND) return superviseDetached(options);
      return options.detach ? startDetached(options, argv) : startHere(options);
    }
    case "stop": {
      const values = readFlags(COMMANDS.stop, argv);
      if (values === undefined) return help(COMMANDS.stop);
      process.stdout.write(`${await stopStack(stateDir(readDir(values, bases)), (line) => process.stderr.write(`${line}\n`))}\n`);
      return 0;
    }
    case "status": {
      const values = readFlags(COMMANDS.status, argv);
      if (values === undefined) return help(COMMANDS.status);
      const dir = stateDir(readDir(values, bases));
      const status = await stackStatus(dir, AbortSignal.timeout(10_000));
      const text =
        values.json === true ? JSON.stringify(status, null, 2) : statusText(status, commandTexts(dir.root, DEFAULT_DIR), new Date());
      process.stdout.write(`${text}\n`);
      return status.state === "ready" ? 0 : 1;
    }
    case "images": {
      const options = readImagesOptions(argv, bases.cwd);
      if (options === undefined) return help(IMAGES_COMMAND);
      const { signal } = stopSignal(() => undefined);
      process.stdout.write(await runImages(options, { log: (line) => process.stderr.write(`${line}\n`), signal }));
      return 0;
    }
    default:
      (command === "--help" ? process.stdout : process.stderr).write(USAGE);
      return command === "--help" ? 0 : 2;
  }
}

function help(command: Parameters<typeof helpText>[0]): number {
  process.stdout.write(helpText(command));
  return 0;
}

/** Where the user typed the command: npm runs scripts in the workspace's root and tells the user's own folder. */
function userFolder(): string {
  const byNpm = ["start", "stop", "status", "images"].includes(process.env.npm_lifecycle_event ?? "");
  return (byNpm ? process.env.INIT_CWD : undefined) ?? process.cwd();
}

try {
  const [command, ...argv] = process.argv.slice(2);
  process.exitCode = await run(command, argv);
  // Handles that a stopped stack may leave open (sockets of finished probes) must not hold the terminal.
  process.exit();
} catch (error) {
  if (error instanceof UsageError || error instanceof StackError) {
    process.stderr.write(`${error.message}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  }
  if (error instanceof Stopped) process.exit(130);
  if (error instanceof PartError || error instanceof RegistryError) {
    process.stderr.write(`error: ${error.message}\n`);
    process.exit(1);
  }
  throw error;
}

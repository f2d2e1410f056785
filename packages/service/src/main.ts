import { ConfigError } from "./args.ts";
import { createLogger, type Logger } from "./log.ts";
import { shutdownSignal } from "./shutdown.ts";

/**
 * Runs a program: `run` works until its signal aborts (SIGTERM, SIGINT) and returns when all is closed.
 * Exits with 0 after a clean end, 2 for settings that cannot be used, 1 for anything unexpected.
 *
 * @param name - the program's name in its log
 */
export async function runMain(name: string, run: (signal: AbortSignal, log: Logger) => Promise<void>): Promise<never> {
  let log: Logger | undefined;
  try {
    log = createLogger(name);
    await run(shutdownSignal(), log);
    process.exit(0);
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`${error.message}\n`);
      process.exit(2);
    }
    log?.fatal({ err: error }, "ended by an error");
    process.exit(1);
  }
}

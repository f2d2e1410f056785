import { ConfigError } from "./args.ts";
import type { Logger } from "./log.ts";
import { shutdownSignal } from "./shutdown.ts";

/**
 * Runs a program: `run` works until its signal aborts (SIGTERM, SIGINT) and returns when all is closed.
 * Exits with 0 after a clean end, 2 for settings that cannot be used, 1 for anything unexpected.
 */
export async function runMain(log: Logger, run: (signal: AbortSignal) => Promise<void>): Promise<never> {
  try {
    await run(shutdownSignal());
    process.exit(0);
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`${error.message}\n`);
      process.exit(2);
    }
    log.fatal({ err: error }, "ended by an error");
    process.exit(1);
  }
}

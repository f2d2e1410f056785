import type { Logger } from "@aibrix/service";

/** One of the program's services. */
export interface Command {
  /** The text of `--help`. */
  readonly help: string;
  /**
   * Works until its signal aborts, and returns when all is closed.
   *
   * @returns `false` where `--help` was asked for; the caller prints it
   * @throws ConfigError for settings that cannot be used
   */
  readonly run: (argv: readonly string[], signal: AbortSignal, log: Logger) => Promise<boolean>;
}

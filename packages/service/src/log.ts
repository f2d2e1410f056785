import { type Logger, pino } from "pino";
import { ConfigError } from "./args.ts";

export type { Logger };

const LEVELS: readonly string[] = ["debug", "info", "warn", "error", "silent"];

/** Field names whose values never reach a log, wherever they stand in a logged object. */
const SECRETS = ["credentials", "apiKey", "api-key", "token", "authorization", "additional_config", "additionalConfig"];

/**
 * A JSON logger on standard output, one line a message, level by `LOG_LEVEL` (debug, info, warn, error, silent; info where absent).
 *
 * @param name - the program's name, in every line
 * @throws {@link ConfigError} for a level that does not exist
 */
export function createLogger(name: string, level: string = process.env.LOG_LEVEL ?? "info"): Logger {
  if (!LEVELS.includes(level)) throw new ConfigError(`LOG_LEVEL=${level}: write one of ${LEVELS.join(", ")}`);
  const options = {
    name,
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRETS.flatMap((s) => [`["${s}"]`, `*["${s}"]`, `*.*["${s}"]`]), censor: "***" },
  };
  // Synchronous: the other kind is flushed at the exit, and where the reader is gone by then sonic-boom 4 tries that flush for ever.
  return pino(options, pino.destination({ dest: 1, sync: true }));
}

/** What a command has of the process. */
export interface CommandIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
}

/** @returns the exit code @throws ConfigError for a command line that cannot be used */
export type Command = (argv: readonly string[], io: CommandIo, signal: AbortSignal) => Promise<number>;

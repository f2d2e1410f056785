import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { StartOptions } from "./options.ts";
import { MAIN } from "./paths.ts";
import { tail } from "./rotating-log.ts";
import type { SupervisorMessage } from "./start.ts";
import { createStateDir, logFile, stateDir } from "./state-dir.ts";

/** Command of this program that runs a stack for {@link startDetached}. */
export const SUPERVISE_COMMAND = "supervise";

/**
 * Starts a supervisor that outlives this command, and relays what it says until all is ready or it has failed.
 *
 * @param argv - the flags of `start` as they were given
 * @returns the exit code
 */
export async function startDetached(options: StartOptions, argv: readonly string[]): Promise<number> {
  const dir = stateDir(options.dir);
  createStateDir(dir);
  const errors = logFile(dir, "supervisor-errors");
  const fd = openSync(errors, "w", 0o600);
  const child = spawn(process.execPath, [MAIN, SUPERVISE_COMMAND, ...argv], { detached: true, stdio: ["ignore", fd, fd, "ipc"] });
  closeSync(fd);
  const outcome = Promise.withResolvers<number>();
  // Whoever reads only the beginning (`| head`) still wants the stack.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  let failed = false;
  child.on("message", (message: SupervisorMessage) => {
    if (message.kind === "line") process.stdout.write(`${message.text}\n`);
    if (message.kind === "ready") outcome.resolve(0);
    if (message.kind === "failed") {
      failed = true;
      process.stderr.write(`${message.text}\n`);
    }
  });
  child.once("error", (error) => outcome.reject(error));
  child.once("exit", (code) => {
    if (!failed && code !== 130) process.stderr.write(`the supervisor ended unexpectedly\n${tail(errors, 20).join("\n")}\n`);
    outcome.resolve(code === 0 ? 1 : (code ?? 1));
  });
  // Ends before it is ready: the supervisor takes everything down again, and its exit ends this command.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => child.kill("SIGTERM"));
  const code = await outcome.promise;
  if (child.connected) child.disconnect();
  child.unref();
  return code;
}

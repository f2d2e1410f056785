import { PartError } from "../parts/part-context.ts";
import { StackError, UsageError } from "./errors.ts";
import { clock } from "./lines.ts";
import type { StartOptions } from "./options.ts";
import { RotatingLog } from "./rotating-log.ts";
import { runStack, type StackHooks } from "./run-stack.ts";
import { Stopped, stopSignal } from "./signals.ts";
import { createStateDir, logFile, stateDir } from "./state-dir.ts";

/** What a detached supervisor tells the command that started it. */
export type SupervisorMessage =
  | { readonly kind: "line"; readonly text: string }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly text: string };

/** Runs a stack in this process until Ctrl-C. Returns the exit code. */
export async function startHere(options: StartOptions): Promise<number> {
  // A reader that went away (`npm start | head`) ends the stack as Ctrl-C does.
  return supervise(
    options,
    (message) => {
      if (message.kind === "line") process.stdout.write(`${message.text}\n`);
      else if (message.kind === "failed") process.stderr.write(`${message.text}\n`);
    },
    (stop) => process.stdout.on("error", stop),
  );
}

/** Runs a stack in a detached process, whose words go to its parent until all is ready. Returns the exit code. */
export async function superviseDetached(options: StartOptions): Promise<number> {
  let ready = false;
  return supervise(
    options,
    (message) => {
      ready ||= message.kind === "ready";
      // The parent may be gone by now, and is of no interest any more once all is ready.
      if (process.connected === true) process.send?.(message, undefined, undefined, () => undefined);
    },
    (stop) => process.on("disconnect", () => (ready ? undefined : stop())),
  );
}

async function supervise(
  options: StartOptions,
  tell: (message: SupervisorMessage) => void,
  onStop: (stop: () => void) => void,
): Promise<number> {
  const dir = stateDir(options.dir);
  let kill = () => {};
  const stop = stopSignal(() => kill());
  onStop(() => stop.abort(new Stopped("nobody listens any more")));
  process.on("exit", () => kill());
  let log: RotatingLog | undefined;
  const say = (text: string) => {
    tell({ kind: "line", text });
    log?.write(`${text}\n`);
  };
  try {
    createStateDir(dir);
    const hooks: StackHooks = {
      say,
      onTaken: () => {
        log = new RotatingLog(logFile(dir, "supervisor"));
      },
      onReady: () => tell({ kind: "ready" }),
      onKill: (killer) => {
        kill = killer;
      },
    };
    if (options.mode === "kubernetes") await (await import("../cluster/run-cluster.ts")).runCluster(options, hooks, stop.signal);
    else await runStack(options, hooks, stop.signal);
    say(`${clock(new Date())}  stopped`);
    return 0;
  } catch (error) {
    if (error === stop.signal.reason || (error instanceof Error && stop.signal.aborted && error.name === "AbortError")) {
      say(`${clock(new Date())}  stopped before it was ready`);
      return 130;
    }
    const text = messageOf(error);
    log?.write(`${text}\n`);
    tell({ kind: "failed", text });
    return error instanceof UsageError ? 2 : 1;
  } finally {
    log?.close();
  }
}

function messageOf(error: unknown): string {
  if (error instanceof StackError || error instanceof UsageError || error instanceof PartError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

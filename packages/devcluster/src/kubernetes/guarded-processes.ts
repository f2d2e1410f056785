import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { PartError } from "../parts/part-context.ts";

/**
 * Waits for the end of its standard input, which this process holds open: that comes however this process ends. Then it kills the process
 * groups whose numbers are file names in DIR/pids, and removes DIR unless it is to be kept.
 */
const GUARD = `trap '' INT TERM HUP
read -r _
for f in "$1"/pids/*; do [ -e "$f" ] && kill -9 "-\${f##*/}"; done 2>/dev/null
[ "$2" = keep ] || rm -rf -- "$1"`;

/** A program that runs. */
export interface GuardedProcess {
  readonly name: string;
  readonly pid: number;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly hasEnded: () => boolean;
  readonly kill: () => void;
}

/** Starts programs in process groups of their own that do not outlive this process, not even when it is killed with SIGKILL. */
export class GuardedProcesses {
  readonly #dir: string;
  readonly #pids: string;
  readonly #guard: ChildProcess;
  readonly #running = new Set<GuardedProcess>();

  /** @param keep - whether `dir`, which holds the logs, stays when this process dies */
  constructor(dir: string, keep: boolean) {
    this.#dir = dir;
    this.#pids = join(dir, "pids");
    mkdirSync(this.#pids, { recursive: true });
    mkdirSync(join(dir, "log"), { recursive: true });
    this.#guard = spawn("/bin/sh", ["-c", GUARD, "guard", dir, keep ? "keep" : "remove"], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    this.#guard.on("error", () => undefined);
    this.#guard.stdin?.on("error", () => undefined);
    this.#guard.unref();
    (this.#guard.stdin as { unref?: () => void } | null)?.unref?.();
  }

  /** Starts a program; what it writes goes to `log/NAME.log`. */
  start(name: string, argv: readonly [string, ...string[]]): GuardedProcess {
    const [file, ...args] = argv;
    const log = openSync(this.logFile(name), "a");
    const child = spawn(file, args, { cwd: this.#dir, stdio: ["ignore", log, log], detached: true });
    closeSync(log);
    const { pid } = child;
    if (pid === undefined) {
      child.on("error", () => undefined);
      throw new PartError(`cannot start ${file}: is it a program for this machine?`);
    }
    const mark = join(this.#pids, String(pid));
    writeFileSync(mark, name);
    let over = false;
    const ended = new Promise<void>((resolve) => {
      child.once("exit", () => {
        over = true;
        this.#running.delete(started);
        rmSync(mark, { force: true });
        resolve();
      });
    });
    const kill = () => {
      if (over) return;
      child.ref(); // Somebody waits for its end now.
      process.kill(-pid, "SIGKILL");
    };
    const started: GuardedProcess = { name, pid, ended, hasEnded: () => over, kill };
    this.#running.add(started);
    child.unref();
    return started;
  }

  /** Kills one program's group and waits for its end. */
  async kill(program: GuardedProcess): Promise<void> {
    program.kill();
    await program.ended;
  }

  /** Kills all, lets the guard go, and removes the folder unless it is to be kept. */
  async stop(keep: boolean): Promise<void> {
    await Promise.all([...this.#running].map((p) => this.kill(p)));
    if (!keep) await rm(this.#dir, { recursive: true, force: true });
    this.#guard.stdin?.end();
  }

  logFile(name: string): string {
    return join(this.#dir, "log", `${name}.log`);
  }

  /** The last lines that a program wrote. */
  async tail(name: string, lines = 20): Promise<string> {
    const text = await readFile(this.logFile(name), "utf8").catch(() => "");
    return text.trimEnd().split("\n").slice(-lines).join("\n");
  }
}

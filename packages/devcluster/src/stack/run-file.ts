import { linkSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { identify, isAlive, type ProcessId } from "./process-id.ts";
import { readJson, type StateDir, writeJsonAtomic } from "./state-dir.ts";

/** A process that a supervisor has started. */
export interface RunPart extends ProcessId {
  /** When it was started, ISO 8601. */
  readonly since: string;
  readonly url?: string;
}

/** `run.json`: which processes belong to the stack in this folder. Every later start and stop finds them by it. */
export interface RunFile {
  readonly supervisor: RunPart;
  readonly parts: Readonly<Record<string, RunPart>>;
}

/** Reads `run.json`; `undefined` where no supervisor has run here since the last clean end. */
export function readRunFile(dir: StateDir): RunFile | undefined {
  const value = readJson(dir.runFile) as Partial<RunFile> | undefined;
  return typeof value?.supervisor?.pid === "number" ? (value as RunFile) : undefined;
}

/** This process as a {@link RunPart}. */
export function thisProcess(): RunPart {
  const id = identify(process.pid);
  if (id === undefined) throw new Error("this process cannot find itself in the process list");
  return { ...id, since: new Date().toISOString() };
}

/**
 * Takes the state folder for this process. Only one of several that try at once succeeds.
 *
 * @returns the record to keep up to date, or who holds the folder: a supervisor that lives, or what a killed one left behind
 */
export function takeRunFile(dir: StateDir): RunRecord | RunFile {
  const mine: RunFile = { supervisor: thisProcess(), parts: {} };
  const temporary = `${dir.runFile}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify(mine), { mode: 0o600 });
  try {
    // Unlike a rename, a link fails where the name exists already: that makes it a lock.
    linkSync(temporary, dir.runFile);
    return new RunRecord(dir, mine);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return readRunFile(dir) ?? { supervisor: { pid: 0, startTime: "", since: "" }, parts: {} };
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Puts a dead supervisor's record aside, so that the folder can be taken. A record that somebody else has put there meanwhile stays. */
export function dropRunFile(dir: StateDir, stale: RunFile): void {
  const aside = `${dir.runFile}.stale.${process.pid}`;
  try {
    renameSync(dir.runFile, aside);
  } catch {
    return; // Another start was faster.
  }
  const moved = readJson(aside) as RunFile | undefined;
  const same = moved?.supervisor.pid === stale.supervisor.pid && moved.supervisor.startTime === stale.supervisor.startTime;
  if (!same && moved !== undefined && isAlive(moved.supervisor)) {
    try {
      linkSync(aside, dir.runFile);
    } catch {
      // A third start has taken the folder: the one whose record was moved finds out by its next write.
    }
  }
  rmSync(aside, { force: true });
}

/** The record of a supervisor's own processes. Each change is on disk before the call returns. */
export class RunRecord {
  readonly #dir: StateDir;
  readonly #supervisor: RunPart;
  readonly #parts = new Map<string, RunPart>();

  constructor(dir: StateDir, file: RunFile) {
    this.#dir = dir;
    this.#supervisor = file.supervisor;
  }

  get file(): RunFile {
    return { supervisor: this.#supervisor, parts: Object.fromEntries(this.#parts) };
  }

  /** @param part - `undefined` once the process and its group are gone */
  set(name: string, part: RunPart | undefined): void {
    if (part === undefined) this.#parts.delete(name);
    else this.#parts.set(name, part);
    writeJsonAtomic(this.#dir.runFile, this.file);
  }

  /** Process numbers by part, the supervisor's first. */
  pids(): Record<string, number> {
    const parts = [...this.#parts].map(([name, { pid }]) => [name, pid] as const);
    return { supervisor: this.#supervisor.pid, ...Object.fromEntries(parts) };
  }

  remove(): void {
    rmSync(this.#dir.runFile, { force: true });
  }
}

import { type ChildProcess, spawn } from "node:child_process";
import { restartDelayMs, STEADY_MS } from "./backoff.ts";
import { STACK_DIR_VARIABLE } from "./leftovers.ts";
import { identify, killGroup, signalGroup, signalProcess } from "./process-id.ts";
import type { RunPart } from "./run-file.ts";
import { aborted, sleep } from "./time.ts";

/** A program to run, and how to know that it works. */
export interface PartSpec {
  readonly name: string;
  readonly command: string;
  /** Never holds a secret: everybody on the machine can read it. */
  readonly args: readonly string[];
  /** Added to the supervisor's environment; `undefined` takes a variable away. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where it listens. */
  readonly url: string;
  /** Resolves once the part works; it asks again and again until then, and rejects only when the signal aborts. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** How long it may take until it works, in milliseconds. */
  readonly readyWithinMs: number;
  /** How long it may take to end after SIGTERM before it is killed, in milliseconds. */
  readonly graceMs: number;
  /** Parts of a lower number are ended first. */
  readonly stopOrder: number;
}

export type PartEvent =
  | { readonly kind: "ready"; readonly afterMs: number; readonly again: boolean }
  | { readonly kind: "exited"; readonly how: string; readonly restartInMs: number };

/** The edges of a {@link Part}. */
export interface PartDeps {
  readonly stackDir: string;
  /** Keeps the process findable; on disk before it returns. `undefined`: it is gone. */
  readonly record: (name: string, process: RunPart | undefined) => void;
  readonly log: (name: string, chunk: Uint8Array | string) => void;
  readonly report: (part: PartSpec, event: PartEvent) => void;
}

/** A part that could not be started. */
export class PartFailed extends Error {
  override readonly name = "PartFailed";
  readonly part: string;

  constructor(part: string, how: string) {
    super(how);
    this.part = part;
  }
}

/** By it programs say that their settings cannot be used: another try would end the same way. */
const SETTINGS_EXIT_CODE = 2;
/** After so many failed starts a part that has never worked is given up. */
const FAILED_STARTS = 2;
const KILL_MS = 5_000;

/**
 * One program under supervision, in a process group of its own: started again with growing pauses when it ends by itself.
 * While it has never worked, it is given up soon instead, so that a start fails with the cause.
 */
export class Part {
  readonly spec: PartSpec;
  readonly #deps: PartDeps;
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  #child: ChildProcess | undefined;
  #running: Promise<void> | undefined;
  #everReady = false;

  constructor(spec: PartSpec, deps: PartDeps) {
    this.spec = spec;
    this.#deps = deps;
    this.#ready.promise.catch(() => undefined); // Whoever waits for it still gets the error.
  }

  /** Resolves when the part works for the first time. Rejects with {@link PartFailed} when it is given up. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    this.#running ??= this.#supervise().catch((error: unknown) => this.#ready.reject(error));
  }

  /** Ends the process and everything in its group: SIGTERM, then SIGKILL after the part's grace. Never rejects. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#ready.reject(new PartFailed(this.spec.name, "was stopped"));
    await this.#running;
  }

  /** Kills process and group at once; for a supervisor that must not wait. */
  kill(): void {
    this.#stop.abort();
    if (this.pid !== undefined) signalGroup(this.pid, "SIGKILL");
  }

  async #supervise(): Promise<void> {
    const stop = this.#stop.signal;
    let crashes = 0;
    while (!stop.aborted) {
      const startedMs = performance.now();
      const how = await this.#runOnce();
      if (stop.aborted) return;
      crashes = performance.now() - startedMs > STEADY_MS ? 1 : crashes + 1;
      if (!this.#everReady && (how.code === SETTINGS_EXIT_CODE || crashes >= FAILED_STARTS)) throw new PartFailed(this.spec.name, how.text);
      const restartInMs = restartDelayMs(crashes);
      this.#deps.report(this.spec, { kind: "exited", how: how.text, restartInMs });
      await sleep(restartInMs, stop);
    }
  }

  /** Starts the program, waits until it has ended for whatever reason, and clears away what it left of its group. */
  async #runOnce(): Promise<Exit> {
    const { spec } = this;
    const startedMs = performance.now();
    const child = spawn(spec.command, spec.args, {
      detached: true, // A group of its own: a Ctrl-C in the terminal reaches the supervisor alone, which then ends the parts in order.
      env: { ...process.env, ...spec.env, [STACK_DIR_VARIABLE]: this.#deps.stackDir },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exit = exitOf(child);
    const pid = child.pid;
    if (pid === undefined) return exit;
    this.#child = child;
    const id = identify(pid);
    if (id !== undefined) this.#deps.record(spec.name, { ...id, since: new Date().toISOString(), url: spec.url });
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Uint8Array) => this.#deps.log(spec.name, chunk));

    const ended = new AbortController();
    const watching = this.#watchReady(startedMs, ended.signal);
    const end = this.#endOnStop(pid, ended.signal);
    const how = await exit;
    ended.abort();
    await Promise.all([watching, end]);
    await killGroup(pid, KILL_MS);
    this.#child = undefined;
    this.#deps.record(spec.name, undefined);
    return how;
  }

  async #watchReady(startedMs: number, ended: AbortSignal): Promise<void> {
    try {
      await this.spec.ready(AbortSignal.any([ended, this.#stop.signal]));
    } catch {
      return;
    }
    if (ended.aborted || this.#stop.signal.aborted) return;
    this.#deps.report(this.spec, { kind: "ready", afterMs: performance.now() - startedMs, again: this.#everReady });
    this.#everReady = true;
    this.#ready.resolve();
  }

  async #endOnStop(pid: number, ended: AbortSignal): Promise<void> {
    await aborted(AbortSignal.any([ended, this.#stop.signal]));
    if (ended.aborted) return;
    // The leader alone: it knows how to take its own children along.
    signalProcess(pid, "SIGTERM");
    if (await sleep(this.spec.graceMs, ended)) await killGroup(pid, KILL_MS);
  }
}

interface Exit {
  readonly code: number | undefined;
  readonly text: string;
}

async function exitOf(child: ChildProcess): Promise<Exit> {
  const result = Promise.withResolvers<Exit>();
  child.once("error", (error) => result.resolve({ code: SETTINGS_EXIT_CODE, text: `could not be started: ${error.message}` }));
  child.once("exit", (code, signal) => {
    result.resolve({ code: code ?? undefined, text: signal === null ? `ended with exit code ${code}` : `was ended by ${signal}` });
  });
  const exit = await result.promise;
  // The last lines may still be in the pipe; a grandchild that holds it open must not hold us.
  await Promise.race([new Promise((resolve) => child.once("close", resolve)), sleep(100, AbortSignal.timeout(1_000))]);
  return exit;
}

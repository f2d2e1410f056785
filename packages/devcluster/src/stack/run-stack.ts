import { rmSync } from "node:fs";
import { bringUp } from "./bring-up.ts";
import { commandTexts, shortPath } from "./commands.ts";
import { PortTakenError } from "./errors.ts";
import { S3_PREFIX } from "./fixtures.ts";
import { changeLine, clock, partLine } from "./lines.ts";
import { Logs } from "./logs.ts";
import { nextSteps } from "./next-steps.ts";
import type { StandaloneOptions } from "./options.ts";
import type { PartEvent, PartSpec } from "./part.ts";
import { DEFAULT_DIR } from "./paths.ts";
import { type Laid, lay, type Prepared, prepare } from "./prepare.ts";
import type { RunRecord } from "./run-file.ts";
import { Runtimes } from "./runtimes.ts";
import { writeStackFile } from "./stack-file.ts";
import { logFile, type StateDir, stateDir } from "./state-dir.ts";
import { Supervisor } from "./supervisor.ts";
import { takeFolder } from "./take-folder.ts";
import { aborted, span } from "./time.ts";
import { warnings } from "./warnings.ts";

/** How a stack speaks to whoever started it. */
export interface StackHooks {
  /** Takes lines for people. */
  readonly say: (line: string) => void;
  /** The state folder belongs to this stack from here on. */
  readonly onTaken: () => void;
  /** Everything is ready and `stack.json` is there. */
  readonly onReady: () => void;
  /** Gets a function that kills all parts at once, for an end that cannot wait. */
  readonly onKill: (kill: () => void) => void;
}

/** A port can be taken between its choice and its use; so often new ones are chosen. */
const PORT_ATTEMPTS = 3;

/**
 * Runs a stack until the signal aborts, and takes it down in order. Whatever happens, no process, no port and no `stack.json` is left.
 * @throws what {@link bringUp} throws, and StackError where a stack runs in this folder already
 */
export async function runStack(options: StandaloneOptions, hooks: StackHooks, signal: AbortSignal): Promise<void> {
  const dir = stateDir(options.dir);
  const record = await takeFolder(dir, commandTexts(dir.root, DEFAULT_DIR), hooks.say);
  hooks.onTaken();
  try {
    const startedMs = performance.now();
    rmSync(dir.stackFile, { force: true });
    const prepared = await prepare(options, dir, hooks.say, signal);
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        return await new Stack(options, hooks, dir, record, startedMs).run(prepared, signal);
      } catch (error) {
        if (!(error instanceof PortTakenError) || attempt === PORT_ATTEMPTS) throw error;
        hooks.say(`${error.message}; starting again with other ports`);
      }
    }
  } finally {
    record.remove();
  }
}

class Stack {
  readonly #options: StandaloneOptions;
  readonly #hooks: StackHooks;
  readonly #dir: StateDir;
  readonly #record: RunRecord;
  readonly #startedMs: number;
  readonly #supervisor: Supervisor;
  readonly #runtimes: Runtimes;
  readonly #logs: Logs;
  #laid: Laid | undefined;
  #ready = false;
  #stopping = false;

  constructor(options: StandaloneOptions, hooks: StackHooks, dir: StateDir, record: RunRecord, startedMs: number) {
    this.#options = options;
    this.#hooks = hooks;
    this.#dir = dir;
    this.#record = record;
    this.#startedMs = startedMs;
    this.#logs = new Logs(dir);
    this.#runtimes = new Runtimes((engine, change) => {
      if (!this.#stopping) this.#say(changeLine(engine, change));
    });
    this.#supervisor = new Supervisor({
      stackDir: dir.root,
      record: (name, process) => {
        record.set(name, process);
        if (this.#ready) this.#writeStackFile();
      },
      log: (name, chunk) => this.#logs.write(name, chunk),
      report: (part, event) => this.#report(part, event),
    });
    hooks.onKill(() => this.#supervisor.kill());
  }

  async run(prepared: Prepared, signal: AbortSignal): Promise<void> {
    const watching = new AbortController();
    try {
      this.#laid = await lay(this.#options, prepared, this.#dir);
      const deps = { supervisor: this.#supervisor, runtimes: this.#runtimes, dir: this.#dir, say: (line: string) => this.#say(line) };
      await bringUp(this.#laid, { ...deps, watching: watching.signal }, signal);
      this.#ready = true;
      this.#writeStackFile();
      this.#sayReady(this.#laid);
      this.#hooks.onReady();
      await aborted(signal);
      this.#say("stopping");
    } finally {
      this.#ready = false;
      this.#stopping = true;
      rmSync(this.#dir.stackFile, { force: true });
      watching.abort();
      await this.#supervisor.stop();
      this.#logs.close();
    }
  }

  #say(line: string): void {
    this.#hooks.say(`${clock(new Date())}  ${line}`);
  }

  #report({ name, url }: PartSpec, event: PartEvent): void {
    this.#say(partLine(name, event, { url, log: shortPath(logFile(this.#dir, name), process.cwd()) }));
  }

  #writeStackFile(): void {
    if (this.#laid === undefined) return;
    const { input, gateway, s3 } = this.#laid;
    writeStackFile(this.#dir, {
      mode: "standalone",
      gateway,
      engine: input.engine,
      engines: input.engines.map((e) => ({ url: e.url, runtime: `http://127.0.0.1:${e.runtimePort}` })),
      ...(s3 === undefined ? {} : { s3 }),
      hub: input.hubUrl,
      pids: this.#record.pids(),
    });
  }

  #sayReady({ gateway, input, s3 }: Laid): void {
    const { views } = this.#runtimes;
    const found = warnings(views);
    const known = [...views.values()].filter((v) => v !== undefined);
    const lines = nextSteps({
      gateway,
      baseModel: known.flatMap((v) => v.engine.base_models)[0],
      adapter: known.flatMap((v) => v.adapters).find((a) => a.serving !== null)?.lora_name,
      apiKeyFile: this.#options.apiKeyFile,
      adaptersDir: shortPath(this.#options.adapters, process.cwd()),
      hub: input.hubUrl,
      s3Example: s3 === undefined ? undefined : `s3://${s3.bucket}/${S3_PREFIX}`,
      commands: commandTexts(this.#dir.root, DEFAULT_DIR),
      detached: this.#options.detach,
    });
    this.#say(`ready after ${span(performance.now() - this.#startedMs)}: ${gateway}`);
    for (const line of [...found.map((w) => `warning: ${w}`), ...lines, ""]) this.#hooks.say(line);
  }
}

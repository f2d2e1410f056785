import { PortTakenError, StackError } from "./errors.ts";
import { type Part, PartFailed } from "./part.ts";
import { saysPortTaken } from "./ports.ts";
import { tail } from "./rotating-log.ts";
import { logFile, type StateDir } from "./state-dir.ts";
import { sleep, span } from "./time.ts";

/** Until a slow part is mentioned again. */
const STILL_WAITING_MS = 10_000;
const TAIL_LINES = 20;

/** The edges of {@link allReady}. */
export interface ReadyDeps {
  readonly dir: StateDir;
  readonly say: (line: string) => void;
}

/**
 * Waits until every part works. Slow ones are mentioned every ten seconds.
 * @throws {@link StackError} that shows the end of the part's log, where one is given up or needs longer than its `readyWithinMs`
 */
export async function allReady(parts: readonly Part[], deps: ReadyDeps, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  try {
    await Promise.all(parts.map((part) => ready(part, deps, AbortSignal.any([signal, done.signal]))));
  } finally {
    done.abort();
  }
}

async function ready(part: Part, { dir, say }: ReadyDeps, signal: AbortSignal): Promise<void> {
  const { name, readyWithinMs } = part.spec;
  const log = logFile(dir, name);
  const startedMs = performance.now();
  const waiting = new AbortController();
  const stop = AbortSignal.any([signal, waiting.signal]);
  const reminder = (async () => {
    while (await sleep(STILL_WAITING_MS, stop)) {
      say(`still waiting for ${name} (${span(performance.now() - startedMs)})${quote(tail(log, 1)[0])}`);
    }
  })();
  try {
    const outcome = await Promise.race([part.ready.then(() => "ready" as const), sleep(readyWithinMs, stop).then(() => "late" as const)]);
    if (outcome === "ready") return;
    signal.throwIfAborted();
    throw failure(name, `did not answer within ${span(readyWithinMs)}`, log);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof PartFailed ? failure(name, error.message, log) : error;
  } finally {
    waiting.abort();
    await reminder;
  }
}

function quote(line: string | undefined): string {
  return line === undefined ? "" : `; it last said: ${line.slice(0, 160)}`;
}

function failure(name: string, how: string, log: string): StackError {
  const lines = tail(log, TAIL_LINES);
  if (saysPortTaken(lines)) return new PortTakenError(`${name} ${how}: another program took its port`);
  const said = lines.length === 0 ? "It wrote nothing." : `The end of ${log}:\n${lines.map((l) => `  ${l}`).join("\n")}`;
  return new StackError(`${name} ${how} before it was ready. ${said}\n${remedy(name)}`);
}

function remedy(name: string): string {
  if (name.startsWith("engine"))
    return "Mend what the engine complains about (--engine-arg and --api-key-file change how it is started), then start again.";
  return "Mend what it complains about, then start again; `npm run build` builds the programs anew.";
}

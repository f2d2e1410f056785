import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

/** How often a process is looked at: what it did after the last look is not counted. */
const LOOK_MS = 20;
/** Clock ticks of Linux: 100 a second on every machine that Node runs on. */
const TICK_MS = 10;

/** What a process took. */
export interface Taken {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

/** Runs a client to its end. @throws Error with its output where it fails */
export async function runMeasured(argv: readonly [string, ...string[]], env: NodeJS.ProcessEnv, timeoutMs: number): Promise<Taken> {
  const [file, ...args] = argv;
  const startMs = performance.now();
  const child = spawn(file, args, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  let last = { cpuSeconds: 0, peakBytes: 0 };
  const timer = setInterval(() => {
    last = look(child.pid) ?? last;
  }, LOOK_MS);
  try {
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}:\n${output.slice(-2000)}`);
  } finally {
    clearInterval(timer);
  }
  // Who knows better than from outside how long its work took says so; its own start does not count then.
  const said = /^seconds=([\d.]+)$/m.exec(output)?.[1];
  return { seconds: said === undefined ? (performance.now() - startMs) / 1000 : Number(said), ...last };
}

/** What a process has taken so far; `undefined` where it has ended. */
export function look(pid: number | undefined): Omit<Taken, "seconds"> | undefined {
  try {
    const peakKib = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    // The name before may have spaces and parentheses.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    if (Number.isNaN(peakKib)) return undefined;
    return { cpuSeconds: ((Number(fields[11]) + Number(fields[12])) * TICK_MS) / 1000, peakBytes: peakKib * 1024 };
  } catch {
    return undefined;
  }
}

/** Ends a process that was started here. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exit;
  clearTimeout(timer);
}

import { readFileSync } from "node:fs";

/*
 * Loaded into a program by `--import`: its time of day is off by as many seconds as a file says now. Clocks that never jump, and so timers, are
 * the kernel's own, and so are the times of files.
 */
const FILE = "AIBRIX_TEST_CLOCK_FILE";

/** What a program is given so that it goes by the clock that a file sets. Replace the file in one step: it is read at any moment. */
export function clockOf(file: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, [FILE]: file };
}

const file = process.env[FILE];
if (file !== undefined) {
  const real = Date;
  const now = () => real.now() + Number(readFileSync(file, "utf8")) * 1000;
  globalThis.Date = new Proxy(real, {
    construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
    apply: () => new real(now()).toString(),
    get: (target, name, receiver) => (name === "now" ? now : (Reflect.get(target, name, receiver) as unknown)),
  });
}

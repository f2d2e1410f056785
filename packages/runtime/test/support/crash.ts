// Loaded into a runtime by NODE_OPTIONS=--import: ends its process with SIGKILL at a named file operation. The program itself knows nothing
// of it.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** Where a process ends. */
export interface CrashPoint {
  /** A function of node:fs/promises, or `write` for bytes that go into an open file. */
  readonly op: "open" | "write" | "mkdir" | "writeFile" | "readFile" | "rename" | "link" | "rm" | "utimes";
  /** Found in the path; for operations with two, in the second. */
  readonly path: string;
  /** Of files that are given their name: what such a file has in it. */
  readonly holds?: string;
  /** Which of them, 1 by default. */
  readonly nth?: number;
  readonly when: "before" | "after";
}

const point = process.env.TEST_CRASH_POINT === undefined ? undefined : (JSON.parse(process.env.TEST_CRASH_POINT) as CrashPoint);
if (point !== undefined) arm(point);

/** The environment of a program that ends at a point. */
export function crashingAt(crash: CrashPoint): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, TEST_CRASH_POINT: JSON.stringify(crash) };
}

function arm({ op, path, holds, nth = 1, when }: CrashPoint): void {
  const pattern = new RegExp(path);
  let left = nth;
  const die = () => process.kill(process.pid, "SIGKILL");
  const isIt = (subject: unknown, holdsIt = () => true) => {
    const one = pattern.test(String(subject)) && holdsIt();
    if (one) left -= 1;
    return one && left === 0;
  };
  type Call = (...args: unknown[]) => Promise<unknown>;
  const promises = fs.promises as unknown as Record<string, Call>;
  const second = op === "rename" || op === "link";
  if (op !== "write") {
    const real = promises[op] as Call;
    promises[op] = async (...args) => {
      const hit = isIt(second ? args[1] : args[0], () => holds === undefined || fs.readFileSync(String(args[0]), "utf8").includes(holds));
      if (hit && when === "before") die();
      const result = await real.apply(fs.promises, args);
      if (hit) die();
      return result;
    };
  } else {
    // By a handle or by a stream: what comes first counts, once it has been written.
    const open = promises.open as Call;
    promises.open = async (...args) => {
      const handle = (await open.apply(fs.promises, args)) as Record<string, Call>;
      if (pattern.test(String(args[0])))
        for (const name of ["write", "writev"]) {
          const real = handle[name] as Call;
          handle[name] = async (...written) => {
            const result = await real.apply(handle, written);
            if (isIt(args[0])) die();
            return result;
          };
        }
      return handle;
    };
    const stream = fs.createWriteStream;
    fs.createWriteStream = ((target: string, options) => {
      const out = stream(target, options);
      const real = out._write.bind(out);
      if (pattern.test(target))
        out._write = (chunk, encoding, done) =>
          real(chunk, encoding, (error) => {
            if (isIt(target)) die();
            done(error);
          });
      return out;
    }) as typeof stream;
  }
  syncBuiltinESMExports();
}

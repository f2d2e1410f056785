import { closeSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { Digests } from "../digests.ts";
import type { HashAnswer, HashOrder } from "./protocol.ts";

/** A step is short enough that another file's orders come in between. */
const STEP_BYTES = 1 << 20;

interface Open {
  readonly fd: number;
  readonly sizeBytes: number;
  /** Until it can begin there is none. */
  digests: Digests | undefined;
  at: number;
  to: number;
}

/*
 * Hashes files while they grow, each from its start up to what is written without a gap: what was written a moment ago is still in the
 * page cache, so that reading it again costs little, and the thread that receives does not wait for it.
 */
const files = new Map<number, Open>();
const buffer = Buffer.allocUnsafeSlow(STEP_BYTES);
let stepping = false;

parentPort?.on("message", (order: HashOrder) => {
  try {
    take(order);
  } catch (error) {
    fail(order.id, error);
  }
  if (!stepping) next();
});

function take(order: HashOrder): void {
  if (order.kind === "open") {
    const { path, sizeBytes, algorithms } = order;
    const file: Open = { fd: openSync(path, "r"), sizeBytes, digests: undefined, at: 0, to: 0 };
    files.set(order.id, file);
    Digests.begin(algorithms, sizeBytes).then(
      (digests) => {
        file.digests = digests;
        if (!stepping) next();
      },
      (error: unknown) => fail(order.id, error),
    );
    return;
  }
  const file = files.get(order.id);
  if (file === undefined) return;
  if (order.kind === "drop") close(order.id, file);
  else file.to = Math.max(file.to, order.to);
}

/** One step of every file that has something to hash; then lets messages in. */
function next(): void {
  stepping = false;
  for (const [id, file] of files) {
    try {
      step(id, file);
    } catch (error) {
      fail(id, error);
    }
    stepping ||= files.has(id) && file.digests !== undefined && file.at < file.to;
  }
  if (stepping) setImmediate(next);
}

function step(id: number, file: Open): void {
  const { digests } = file;
  if (digests === undefined) return;
  if (file.at < file.to) {
    const read = readSync(file.fd, buffer, 0, Math.min(STEP_BYTES, file.to - file.at), file.at);
    if (read === 0) throw new Error(`the file ends at ${file.at} of ${file.sizeBytes} bytes: somebody else changed it`);
    digests.update(buffer.subarray(0, read));
    file.at += read;
  }
  if (file.at < file.sizeBytes) return;
  close(id, file);
  answer({ id, digests: digests.hex() });
}

function fail(id: number, error: unknown): void {
  const file = files.get(id);
  if (file !== undefined) close(id, file);
  // A copy of an Error keeps its message only.
  const { message = String(error), code, path } = error as NodeJS.ErrnoException;
  answer({ id, error: { message, code, path } });
}

function close(id: number, file: Open): void {
  files.delete(id);
  closeSync(file.fd);
}

function answer(message: HashAnswer): void {
  parentPort?.postMessage(message);
}

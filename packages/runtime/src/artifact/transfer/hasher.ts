import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../errors.ts";
import type { DigestAlgorithm } from "../sources/source.ts";
import { Digests } from "./digests.ts";
import type { HashAnswer, HashOrder } from "./hash-worker/protocol.ts";

type Hex = Readonly<Partial<Record<DigestAlgorithm, string>>>;

/** A smaller file is hashed where it is, in a few milliseconds: a thread takes longer to start. */
const SMALL_BYTES = 2 ** 20;

/** The hash of one file that is being written. */
export interface GrowingHash {
  /** Tells that all bytes before `to` are written. */
  advance(to: number): void;
  /** In hex, by algorithm, once it advanced to the file's end. Rejects where the file cannot be read, and where it was dropped. */
  readonly result: Promise<Hex>;
  /** Gives it up. */
  drop(): void;
}

/** Orders the thread that hashes. It runs while there is something to hash: a sidecar that is idle should be small. */
export class Hasher {
  #worker: Worker | undefined;
  #nextId = 1;
  readonly #open = new Map<number, PromiseWithResolvers<Hex>>();

  open(path: string, sizeBytes: number, algorithms: readonly DigestAlgorithm[]): GrowingHash {
    if (sizeBytes <= SMALL_BYTES) return smallHash(path, sizeBytes, algorithms);
    const id = this.#nextId++;
    const done = Promise.withResolvers<Hex>();
    done.promise.catch(() => undefined); // Whoever gave up does not wait.
    this.#open.set(id, done);
    this.#send({ kind: "open", id, path, sizeBytes, algorithms });
    return {
      advance: (to) => this.#send({ kind: "advance", id, to }),
      result: done.promise,
      drop: () => {
        if (!this.#open.has(id)) return;
        this.#send({ kind: "drop", id });
        this.#settle({ id, error: { message: "given up" } });
      },
    };
  }

  /** Ends the thread, and what it was about. */
  async close(): Promise<void> {
    for (const id of [...this.#open.keys()]) this.#settle({ id, error: { message: "the runtime ends" } });
    await this.#worker?.terminate();
  }

  #send(order: HashOrder): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(order);
  }

  #settle(answer: HashAnswer): void {
    const done = this.#open.get(answer.id);
    this.#open.delete(answer.id);
    if ("error" in answer) done?.reject(Object.assign(new Error(answer.error.message), answer.error));
    else done?.resolve(answer.digests);
    if (this.#open.size > 0) return;
    // The last order is taken before the thread ends, so that no file stays open.
    const idle = this.#worker;
    this.#worker = undefined;
    void idle?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(workerFile(), { execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 } });
    worker.unref();
    worker.on("message", (answer: HashAnswer) => this.#settle(answer));
    worker.on("error", (error: unknown) => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const id of [...this.#open.keys()]) this.#settle({ id, error: { message: messageOf(error) } });
    });
    return worker;
  }
}

/** The thread's file as the sources have it, as they are built, and as an image's bundle of them has it. */
function workerFile(): URL {
  const names = ["./hash-worker/main.ts", "./hash-worker/main.js", "./hash-worker.mjs", "../hash-worker.mjs"];
  const found = names.map((name) => new URL(name, import.meta.url)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`the file of the thread that hashes is not beside ${import.meta.url}`);
  return found;
}

function smallHash(path: string, sizeBytes: number, algorithms: readonly DigestAlgorithm[]): GrowingHash {
  const done = Promise.withResolvers<Hex>();
  done.promise.catch(() => undefined);
  let begun = false;
  return {
    advance: (to) => {
      if (to < sizeBytes || begun) return;
      begun = true;
      Promise.all([Digests.begin(algorithms, sizeBytes), readFile(path)])
        .then(([digests, bytes]) => {
          digests.update(bytes);
          done.resolve(digests.hex());
        })
        .catch(done.reject);
    },
    result: done.promise,
    drop: () => done.reject(new Error("given up")),
  };
}

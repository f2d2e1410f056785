import { createHash } from "node:crypto";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ByteRange } from "../sources/source.ts";
import { withSpan } from "./spans.ts";

/** What a journal is about. A later try goes on only where all of it is the same. */
export interface JournalSubject {
  /** Stands for what the source said of the content. */
  readonly fingerprint: string;
  /** Changes when the machine was started anew: then what was written may never have reached the disk. Empty where nobody knows. */
  readonly bootId: string;
}

interface Header extends JournalSubject {
  readonly version: 1;
}

/**
 * What has arrived of each file, beside the files: a line is added after its bytes were written, and each is one short write at the end of
 * the file. So a process that is killed leaves a journal that says too little at worst; a line that was cut does not count.
 */
export class Journal {
  readonly #path: string;
  readonly #done: Map<string, readonly ByteRange[]>;
  /** The machine has run since: what the journal says was written can be read back. */
  readonly sameBoot: boolean;

  private constructor(path: string, done: Map<string, readonly ByteRange[]>, sameBoot: boolean) {
    this.#path = path;
    this.#done = done;
    this.sameBoot = sameBoot;
  }

  /** Opens the journal of a folder, a new one where there is none about the same. */
  static async open(dir: string, subject: JournalSubject): Promise<Journal> {
    const path = join(dir, "journal");
    const text = await readFile(path, "utf8").catch(() => "");
    const [first = "", ...lines] = text.split("\n");
    const before = parse(first) as Partial<Header> | undefined;
    if (before?.version === 1 && before.fingerprint === subject.fingerprint) {
      const done = new Map<string, readonly ByteRange[]>();
      // What follows the last line break is a line that was cut.
      for (const line of lines.slice(0, -1)) note(done, line);
      // A new line in front: a line that was cut must not grow together with the next one.
      await appendFile(path, "\n");
      return new Journal(path, done, subject.bootId !== "" && before.bootId === subject.bootId);
    }
    await rm(path, { force: true });
    const header: Header = { version: 1, ...subject };
    await writeFile(path, `${JSON.stringify(header)}\n`);
    return new Journal(path, new Map(), true);
  }

  /** What is there of a file. */
  done(name: string): readonly ByteRange[] {
    return this.#done.get(name) ?? [];
  }

  /** Notes that a part of a file is written. */
  async add(name: string, { start, end }: ByteRange): Promise<void> {
    this.#done.set(name, withSpan(this.done(name), { start, end }));
    await appendFile(this.#path, line([name, start, end]));
  }

  /** Notes that nothing of a file counts any more. */
  async forget(name: string): Promise<void> {
    this.#done.delete(name);
    await appendFile(this.#path, line([name, 0, 0]));
  }
}

/** What was written on this machine since its start can be read back after any crash of a process. Empty where that cannot be told. */
export async function machineBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}

/** With a sum of its own, so that no remains of another line count. */
function line(entry: readonly [string, number, number]): string {
  const text = JSON.stringify(entry);
  return `${sum(text)} ${text}\n`;
}

function note(done: Map<string, readonly ByteRange[]>, text: string): void {
  const entry = text.slice(0, 8) === sum(text.slice(9)) ? parse(text.slice(9)) : undefined;
  if (!Array.isArray(entry)) return;
  const [name, start, end] = entry as [string, number, number];
  if (end === 0) done.delete(name);
  else done.set(name, withSpan(done.get(name) ?? [], { start, end }));
}

function sum(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

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
  /** Files of which something was written before the machine was started anew. */
  readonly #unsure: Set<string>;

  private constructor(path: string, done: Map<string, readonly ByteRange[]>, unsure: Set<string>) {
    this.#path = path;
    this.#done = done;
    this.#unsure = unsure;
  }

  /** Opens the journal of a folder, a new one where there is none about the same. */
  static async open(dir: string, subject: JournalSubject): Promise<Journal> {
    const path = join(dir, "journal");
    const text = await readFile(path, "utf8").catch(() => "");
    const [first = "", ...lines] = text.split("\n");
    const before = parse(first) as Partial<Header> | undefined;
    if (before?.version === 1 && before.fingerprint === subject.fingerprint) {
      const done = new Map<string, readonly ByteRange[]>();
      const unsure = new Set<string>();
      let bootId = before.bootId;
      // What follows the last line break is a line that was cut.
      for (const text of lines.slice(0, -1)) {
        const entry = read(text);
        if (entry === undefined) continue;
        if (entry.length === 1) {
          [bootId] = entry;
          for (const name of done.keys()) unsure.add(name);
        } else note(done, unsure, entry);
      }
      const isSame = subject.bootId !== "" && bootId === subject.bootId;
      if (!isSame) for (const name of done.keys()) unsure.add(name);
      // A new line in front: a line that was cut must not grow together with the next one. What is written from now on is of this boot.
      await appendFile(path, `\n${isSame ? "" : line([subject.bootId])}`);
      return new Journal(path, done, unsure);
    }
    await rm(path, { force: true });
    const header: Header = { version: 1, ...subject };
    await writeFile(path, `${JSON.stringify(header)}\n`);
    return new Journal(path, new Map(), new Set());
  }

  /** What is there of a file. */
  done(name: string): readonly ByteRange[] {
    return this.#done.get(name) ?? [];
  }

  /** Whether the machine has run since all that is there of a file was written: then it can be read back. */
  isSure(name: string): boolean {
    return !this.#unsure.has(name);
  }

  /** Notes that a part of a file is written. */
  async add(name: string, { start, end }: ByteRange): Promise<void> {
    this.#done.set(name, withSpan(this.done(name), { start, end }));
    await appendFile(this.#path, line([name, start, end]));
  }

  /** Notes that nothing of a file counts any more. */
  async forget(name: string): Promise<void> {
    this.#done.delete(name);
    this.#unsure.delete(name);
    await appendFile(this.#path, line([name, 0, 0]));
  }
}

/** What was written on this machine since its start can be read back after any crash of a process. Empty where that cannot be told. */
export async function machineBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}

/** A part of a file that was written, none where a file counts no more; or the boot that what follows was written in. */
type Entry = readonly [name: string, start: number, end: number] | readonly [bootId: string];

/** With a sum of its own, so that no remains of another line count. */
function line(entry: Entry): string {
  const text = JSON.stringify(entry);
  return `${sum(text)} ${text}\n`;
}

function read(text: string): Entry | undefined {
  const entry = text.slice(0, 8) === sum(text.slice(9)) ? parse(text.slice(9)) : undefined;
  return Array.isArray(entry) ? (entry as unknown as Entry) : undefined;
}

function note(done: Map<string, readonly ByteRange[]>, unsure: Set<string>, [name, start, end]: readonly [string, number, number]): void {
  if (end === 0) {
    done.delete(name);
    unsure.delete(name);
  } else done.set(name, withSpan(done.get(name) ?? [], { start, end }));
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

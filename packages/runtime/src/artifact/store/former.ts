import { randomUUID } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { HEX, isMissing, type Layout, makeFolder, writeReadable } from "./layout.ts";

/** Contents that an adapter of this pod had before, by its name: the last ones stay in the pool for a way back, others need not. On the disk, for
 * a pool outlives this process. */
export class FormerContents {
  readonly #layout: Layout;
  readonly #most: number;

  /** @param most - how many of a name stay */
  constructor(layout: Layout, most: number) {
    this.#layout = layout;
    this.#most = most;
  }

  /** Those of a name, as folders are named, the last one last. Also those that are still to be dropped. */
  async of(name: string): Promise<readonly string[]> {
    try {
      return (await readFile(this.#file(name), "utf8")).split("\n").filter((line) => HEX.test(line));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  /** Notes that a name has given a content up. */
  async add(name: string, hex: string): Promise<void> {
    await this.#write(name, [...(await this.of(name)).filter((h) => h !== hex), hex]);
  }

  /**
   * Has all but the last ones of a name dropped.
   *
   * @param held - contents that the name has now, again: they are not former ones
   * @param drop - what drops one; what throws leaves it noted
   */
  async trim(name: string, held: readonly string[], drop: (hex: string) => Promise<void>): Promise<void> {
    const noted = await this.of(name);
    const former = noted.filter((hex) => !held.includes(hex));
    const kept = former.slice(-this.#most);
    for (const hex of former.slice(0, -this.#most)) await drop(hex);
    if (kept.length < noted.length) await this.#write(name, kept);
  }

  /** Forgets those of a name. */
  async forget(name: string): Promise<void> {
    await rm(this.#file(name), { force: true });
  }

  #file(name: string): string {
    return join(this.#layout.former, name);
  }

  async #write(name: string, hexes: readonly string[]): Promise<void> {
    await makeFolder(this.#layout.former);
    const temporary = join(this.#layout.tmp, randomUUID());
    await writeReadable(temporary, hexes.map((hex) => `${hex}\n`).join(""));
    await rename(temporary, this.#file(name));
  }
}

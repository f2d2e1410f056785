import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { DigestAlgorithm } from "../sources/source.ts";

/** Hashes of a file by several algorithms, from one pass over its bytes. */
export class Digests {
  readonly #hashes: readonly (readonly [DigestAlgorithm, Hash])[];
  readonly #crc: boolean;
  #crcValue = 0;

  /** @param sizeBytes - of the whole file, which git hashes before the content */
  constructor(algorithms: readonly DigestAlgorithm[], sizeBytes: number) {
    const wanted = [...new Set(algorithms)];
    this.#crc = wanted.includes("crc32");
    this.#hashes = wanted
      .filter((algorithm) => algorithm !== "crc32")
      .map((algorithm) => {
        if (algorithm !== "git-sha1") return [algorithm, createHash(algorithm)] as const;
        return [algorithm, createHash("sha1").update(`blob ${sizeBytes}\0`)] as const;
      });
  }

  update(bytes: Buffer): void {
    for (const [, hash] of this.#hashes) hash.update(bytes);
    if (this.#crc) this.#crcValue = crc32(bytes, this.#crcValue);
  }

  /** In hex, by algorithm. Ends it. */
  hex(): Readonly<Partial<Record<DigestAlgorithm, string>>> {
    return {
      ...Object.fromEntries(this.#hashes.map(([algorithm, hash]) => [algorithm, hash.digest("hex")])),
      ...(this.#crc ? { crc32: this.#crcValue.toString(16).padStart(8, "0") } : {}),
    };
  }
}

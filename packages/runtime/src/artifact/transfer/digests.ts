import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { createCRC32, createCRC64, type IHasher } from "hash-wasm";
import type { DigestAlgorithm } from "../sources/source.ts";

/** Sums that Node has not, by their polynomials (reflected): Castagnoli's (RFC 3720), and the one of NVM Express. */
const SUMS = { crc32c: () => createCRC32(0x82f63b78), crc64nvme: () => createCRC64("9a6c9329ac4bc9b5") } as const;

/** Hashes of a file by several algorithms, from one pass over its bytes. */
export class Digests {
  readonly #hashes: readonly (readonly [DigestAlgorithm, Hash])[];
  readonly #sums: readonly (readonly [keyof typeof SUMS, IHasher])[];
  readonly #crc: boolean;
  #crcValue = 0;

  private constructor(wanted: readonly DigestAlgorithm[], sizeBytes: number, sums: readonly (readonly [keyof typeof SUMS, IHasher])[]) {
    this.#crc = wanted.includes("crc32");
    this.#sums = sums;
    this.#hashes = wanted.flatMap((algorithm): readonly (readonly [DigestAlgorithm, Hash])[] => {
      if (algorithm === "crc32" || isSum(algorithm)) return [];
      if (algorithm !== "git-sha1") return [[algorithm, createHash(algorithm)]];
      return [[algorithm, createHash("sha1").update(`blob ${sizeBytes}\0`)]];
    });
  }

  /** @param sizeBytes - of the whole file, which git hashes before the content */
  static async begin(algorithms: readonly DigestAlgorithm[], sizeBytes: number): Promise<Digests> {
    const wanted = [...new Set(algorithms)];
    const sums = wanted.filter(isSum).map(async (algorithm) => [algorithm, (await SUMS[algorithm]()).init()] as const);
    return new Digests(wanted, sizeBytes, await Promise.all(sums));
  }

  update(bytes: Buffer): void {
    for (const [, hash] of this.#hashes) hash.update(bytes);
    for (const [, sum] of this.#sums) sum.update(bytes);
    if (this.#crc) this.#crcValue = crc32(bytes, this.#crcValue);
  }

  /** In hex, by algorithm. Ends it. */
  hex(): Readonly<Partial<Record<DigestAlgorithm, string>>> {
    return {
      ...Object.fromEntries(this.#sums.map(([algorithm, sum]) => [algorithm, sum.digest("hex")])),
      ...Object.fromEntries(this.#hashes.map(([algorithm, hash]) => [algorithm, hash.digest("hex")])),
      ...(this.#crc ? { crc32: this.#crcValue.toString(16).padStart(8, "0") } : {}),
    };
  }
}

function isSum(algorithm: DigestAlgorithm): algorithm is keyof typeof SUMS {
  return algorithm in SUMS;
}

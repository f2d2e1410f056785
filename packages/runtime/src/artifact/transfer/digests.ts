import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { Crc32c, Crc64Nvme } from "@aws-sdk/checksums/crc";
import type { DigestAlgorithm } from "../sources/source.ts";

/** Sums that Node has not. */
const SUMS = { crc32c: Crc32c, crc64nvme: Crc64Nvme } as const;

/** Hashes of a file by several algorithms, from one pass over its bytes. */
export class Digests {
  readonly #hashes: readonly (readonly [DigestAlgorithm, Hash])[];
  readonly #sums: readonly (readonly [keyof typeof SUMS, InstanceType<(typeof SUMS)[keyof typeof SUMS]>])[];
  readonly #crc: boolean;
  #crcValue = 0;

  /** @param sizeBytes - of the whole file, which git hashes before the content */
  constructor(algorithms: readonly DigestAlgorithm[], sizeBytes: number) {
    const wanted = [...new Set(algorithms)];
    this.#crc = wanted.includes("crc32");
    this.#sums = wanted.flatMap((algorithm) => (isSum(algorithm) ? [[algorithm, new SUMS[algorithm]()] as const] : []));
    this.#hashes = wanted.flatMap((algorithm): readonly (readonly [DigestAlgorithm, Hash])[] => {
      if (algorithm === "crc32" || isSum(algorithm)) return [];
      if (algorithm !== "git-sha1") return [[algorithm, createHash(algorithm)]];
      return [[algorithm, createHash("sha1").update(`blob ${sizeBytes}\0`)]];
    });
  }

  update(bytes: Buffer): void {
    for (const [, hash] of this.#hashes) hash.update(bytes);
    for (const [, sum] of this.#sums) sum.update(bytes);
    if (this.#crc) this.#crcValue = crc32(bytes, this.#crcValue);
  }

  /** In hex, by algorithm. Ends it. */
  async hex(): Promise<Readonly<Partial<Record<DigestAlgorithm, string>>>> {
    const sums = await Promise.all(
      this.#sums.map(async ([algorithm, sum]) => [algorithm, Buffer.from(await sum.digest()).toString("hex")] as const),
    );
    return {
      ...Object.fromEntries(sums),
      ...Object.fromEntries(this.#hashes.map(([algorithm, hash]) => [algorithm, hash.digest("hex")])),
      ...(this.#crc ? { crc32: this.#crcValue.toString(16).padStart(8, "0") } : {}),
    };
  }
}

function isSum(algorithm: DigestAlgorithm): algorithm is keyof typeof SUMS {
  return algorithm in SUMS;
}

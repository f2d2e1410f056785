import type { DigestAlgorithm } from "../../sources/source.ts";

/** What the thread that hashes is told. */
export type HashOrder =
  | {
      readonly kind: "open";
      readonly id: number;
      readonly path: string;
      readonly sizeBytes: number;
      readonly algorithms: readonly DigestAlgorithm[];
    }
  /** Everything before `to` is written. */
  | { readonly kind: "advance"; readonly id: number; readonly to: number }
  | { readonly kind: "drop"; readonly id: number };

/** What it answers, once for every file that advanced to its end, or could not be read. */
export type HashAnswer =
  | { readonly id: number; readonly digests: Readonly<Partial<Record<DigestAlgorithm, string>>> }
  | { readonly id: number; readonly error: { readonly message: string; readonly code?: unknown; readonly path?: unknown } };

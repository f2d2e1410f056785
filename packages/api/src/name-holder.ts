/** Somebody who has a model's name: the base model of a pod, or a ModelAdapter. */
export interface NameHolder {
  readonly kind: "base" | "adapter";
  /** Absent where names are not held per namespace. */
  readonly namespace?: string;
  /** Unix time in seconds since when it is there: the age of the pod, or of the ModelAdapter. */
  readonly createdSec: number;
}

/**
 * Whether `a` holds the plain name that it shares with `b`. Who was first holds it; of the same second, the first namespace, and a base model
 * before an adapter. The gateway routes by this rule, and the controller tells by it.
 */
export function holdsBefore(a: NameHolder, b: NameHolder): boolean {
  if (a.createdSec !== b.createdSec) return a.createdSec < b.createdSec;
  const [x, y] = [a.namespace ?? "", b.namespace ?? ""];
  return x === y ? a.kind === "base" && b.kind === "adapter" : x < y;
}

/** The age of an object by its `creationTimestamp`, in Unix seconds; 0 where it is absent or no time. */
export function createdSec(creationTimestamp: string | undefined): number {
  return Math.floor(Date.parse(creationTimestamp ?? "") / 1000) || 0;
}

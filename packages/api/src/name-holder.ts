/** Somebody who has a model's name: the base model of a pod, or a ModelAdapter. */
export interface NameHolder {
  readonly kind: "base" | "adapter";
  /** Absent where names are not held per namespace. */
  readonly namespace?: string;
  /** Unix time in seconds since when it is there: the age of the pod, or of the ModelAdapter. */
  readonly createdSec: number;
}

/**
 * Who holds the plain name that all of these have. Who was first holds it; of the same second, the first namespace, and a base model before an
 * adapter. An adapter that is named as a base model of its own namespace is refused, and holds nothing. The gateway routes by this rule, and
 * the controller tells by it. Pure.
 *
 * @param all - gives them, as often as it is called
 */
export function nameHolder<T extends NameHolder>(all: () => Iterable<T>): T | undefined {
  const first = oldest(all());
  // Mostly there are only adapters, or only base models.
  if (first?.kind !== "adapter" || first.namespace === undefined) return first;
  const bases = new Set<string | undefined>();
  for (const { kind, namespace } of all()) if (kind === "base") bases.add(namespace);
  return bases.has(first.namespace) ? oldest(all(), (h) => h.kind === "base" || !bases.has(h.namespace)) : first;
}

function oldest<T extends NameHolder>(all: Iterable<T>, counts: (holder: T) => boolean = () => true): T | undefined {
  let first: T | undefined;
  for (const holder of all) if (counts(holder) && (first === undefined || holdsBefore(holder, first))) first = holder;
  return first;
}

function holdsBefore(a: NameHolder, b: NameHolder): boolean {
  if (a.createdSec !== b.createdSec) return a.createdSec < b.createdSec;
  const [x, y] = [a.namespace ?? "", b.namespace ?? ""];
  return x === y ? a.kind === "base" && b.kind === "adapter" : x < y;
}

/** The age of an object by its `creationTimestamp`, in Unix seconds; 0 where it is absent or no time. */
export function createdSec(creationTimestamp: string | undefined): number {
  return Math.floor(Date.parse(creationTimestamp ?? "") / 1000) || 0;
}

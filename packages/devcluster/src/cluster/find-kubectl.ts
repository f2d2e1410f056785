import { ensureKubernetes } from "../kubernetes/binaries.ts";
import { findOnPath } from "../parts/find.ts";
import type { PartContext } from "../parts/part-context.ts";

/** The user's kubectl, or the one that comes with the control plane of the tests. */
export async function findKubectl(context: PartContext): Promise<string> {
  return (await findOnPath("kubectl")) ?? (await ensureKubernetes(context)).kubectl;
}

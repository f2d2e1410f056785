import { modelAdapterOf } from "@aibrix/api";
import { RequestError } from "../errors.ts";
import type { Declaration } from "./declaration.ts";

/** What a call says of who makes it. */
export interface Claim {
  readonly owner?: string | undefined;
  /** Takes over what nobody in particular declared. */
  readonly adopt?: boolean | undefined;
}

/**
 * Whether whoever calls may declare something else under a name that is declared. A ModelAdapter that was deleted and made again is another
 * object, and goes on with what the one before it declared. Pure.
 */
export function mayReplace({ owner }: Pick<Declaration, "owner">, claim: Claim): boolean {
  if (owner === claim.owner) return true;
  if (claim.owner === undefined) return false;
  if (owner === undefined) return claim.adopt === true;
  const [before, now] = [modelAdapterOf(owner), modelAdapterOf(claim.owner)];
  return before !== undefined && before.namespace === now?.namespace && before.name === now.name;
}

/** Whether whoever calls may unload it: an earlier object of the same name may not, once a later one has declared it. Pure. */
export function mayUnload({ owner }: Pick<Declaration, "owner">, claim: Claim): boolean {
  return owner === claim.owner;
}

/** Says whose an adapter is, and what to do. */
export function notOurs({ name, owner }: Pick<Declaration, "name" | "owner">): RequestError {
  const adapter = owner === undefined ? undefined : modelAdapterOf(owner);
  const message =
    owner === undefined
      ? `"${name}" was loaded by a call without an owner: unload it by such a call, or use another name`
      : adapter === undefined
        ? `"${name}" was declared by ${owner}: have it taken away there, or use another name`
        : `"${name}" belongs to the ModelAdapter ${adapter.namespace}/${adapter.name}: change or delete that, or use another name`;
  return new RequestError(409, "NotOurs", message);
}

import { apiVersionOf, type Resource } from "./resource.ts";
import type { KubeObject, OwnerReference } from "./types.ts";

/**
 * The reference that makes `owner` the controller of another object: it is deleted with its owner.
 *
 * @throws TypeError for an owner that has no uid yet
 */
export function controllerReference<T extends KubeObject>(resource: Resource<T>, owner: T): OwnerReference {
  const { name, uid } = owner.metadata;
  if (uid === undefined)
    throw new TypeError(`${resource.kind} ${name} has no uid: only an object that the API server knows can own others`);
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, name, uid, controller: true, blockOwnerDeletion: true };
}

/** Who controls an object, if anybody does. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((o) => o.controller === true);
}

/** Whether `owner` controls `object`: by uid, so that a later owner of the same name does not. */
export function isControlledBy(object: KubeObject, owner: KubeObject): boolean {
  return owner.metadata.uid !== undefined && controllerOf(object)?.uid === owner.metadata.uid;
}

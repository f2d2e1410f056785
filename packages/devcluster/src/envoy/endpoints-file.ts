import { ENGINES_CLUSTER, loadAssignment } from "./clusters.ts";
import { type Address, type JsonObject, typed } from "./types.ts";

/**
 * What a file of engines holds that Envoy follows ({@link EndpointsFile}): a DiscoveryResponse with the cluster's one assignment.
 * Replace the file by a rename, in its own folder.
 */
export function endpointsFile(engines: readonly Address[]): JsonObject {
  return { resources: [{ ...typed("config.endpoint.v3.ClusterLoadAssignment"), ...loadAssignment(ENGINES_CLUSTER, engines) }] };
}

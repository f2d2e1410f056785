import {
  type ArtifactSource,
  ArtifactUrlError,
  type DeliveryRequest,
  engineContainer,
  parseArtifactUrl,
  type Reason,
  RUNTIME_CONTAINER,
} from "@aibrix/api";
import type { Pod } from "@aibrix/kube";
import { runtimeContainer } from "./containers.ts";
import { DEFAULT_ARTIFACTS_DIR, seesSame, sharedFolder } from "./volumes.ts";

/** How an adapter's files get to the engine of a pod. */
export type Delivery =
  /** The sidecar fetches and checks them, in a folder that both containers see. */
  | { readonly kind: "volume"; readonly runtimeDir: string; readonly engineDir: string }
  /** The engine downloads this repository of the Hub itself. */
  | { readonly kind: "engine"; readonly repo: string; readonly note: string }
  /** They are at this path of the engine's container. `checked`: the sidecar sees them there too. */
  | { readonly kind: "asIs"; readonly path: string; readonly checked: boolean }
  | { readonly kind: "refused"; readonly reason: Reason; readonly message: string };

/** What of a ModelAdapter bears on its delivery. */
export interface Wanted {
  /** With its pin; or what is wrong with it. */
  readonly artifactURL: string | ArtifactUrlError;
  /** It names a Secret with credentials for the storage. */
  readonly hasCredentials: boolean;
}

/**
 * Decides how a pod gets an adapter's files. Pure.
 *
 * @param viaRuntime - whether the pod's sidecar is asked, or the engine itself
 */
export function delivery(pod: Pod, wanted: Wanted, viaRuntime: boolean): Delivery {
  const source = parsed(wanted.artifactURL);
  if (source instanceof ArtifactUrlError) return { kind: "refused", reason: "InvalidArtifactURL", message: source.message };
  if (source.kind === "path") return asIs(pod, source, viaRuntime);
  const folder = viaRuntime ? sharedFolder(pod) : undefined;
  if (folder !== undefined) return { kind: "volume", ...folder };
  const remedy = viaRuntime ? shareVolume(pod) : addRuntime(pod);
  if (source.kind !== "huggingface")
    return { kind: "refused", reason: "VolumeMissing", message: unreadable(String(wanted.artifactURL), source, remedy) };
  if (source.revision !== undefined) {
    const message = `the engine would download ${source.repo} itself and cannot pin the revision ${source.revision}: ${remedy}, or leave the revision out of the artifactURL`;
    return { kind: "refused", reason: "VolumeMissing", message };
  }
  if (source.path !== "" || source.sha256 !== undefined) {
    const what = source.path === "" ? "cannot check its content against a pin" : `cannot take the folder ${source.path} alone`;
    const message = `the engine would download ${source.repo} itself and ${what}: ${remedy}`;
    return { kind: "refused", reason: "VolumeMissing", message };
  }
  const credentials = wanted.hasCredentials
    ? " It cannot be given the credentials of credentialsSecretRef, only an HF_TOKEN of its own."
    : "";
  const note = `The engine downloads ${source.repo} itself, without check or pin, while its other requests wait; a volume that it shares with the sidecar avoids that.${credentials}`;
  return { kind: "engine", repo: source.repo, note };
}

/** A path is the engine's own to read; only the sidecar can compare its content with a pin, where it sees it. */
function asIs(pod: Pod, source: Extract<ArtifactSource, { kind: "path" }>, viaRuntime: boolean): Delivery {
  const checked = viaRuntime && seesSame(pod, source.path);
  if (checked || source.sha256 === undefined) return { kind: "asIs", path: source.path, checked };
  const remedy = viaRuntime
    ? `mount the volume of ${source.path} at the same path in ${RUNTIME_CONTAINER} too`
    : addRuntime(pod, `that mounts ${source.path} as the engine does`);
  const message = `nobody could check ${source.path} against its pin: ${remedy}, or leave #sha256= out of the artifactURL`;
  return { kind: "refused", reason: "VolumeMissing", message };
}

/** What the engine lists as the adapter's root where it was loaded this way without the sidecar. */
export function engineRoot(d: Delivery): string | undefined {
  return d.kind === "engine" ? d.repo : d.kind === "asIs" ? d.path : undefined;
}

/** The `delivery` of a load call; `undefined` where the sidecar's own settings will do. */
export function deliveryRequest(d: Delivery): DeliveryRequest | undefined {
  switch (d.kind) {
    case "volume":
      return { mode: "volume", runtime_dir: d.runtimeDir, engine_dir: d.engineDir };
    case "engine":
      return { mode: "engine" };
    case "asIs":
      return d.checked ? undefined : { mode: "engine" };
    case "refused":
      return undefined;
  }
}

/** The API server refuses such a URL; an older CRD may have let it in. */
function parsed(url: Wanted["artifactURL"]): ArtifactSource | ArtifactUrlError {
  if (url instanceof ArtifactUrlError) return url;
  // An adapter is looked at with many pods in a row.
  if (last?.url !== url) last = { url, source: parse(url) };
  return last.source;
}

let last: { readonly url: string; readonly source: ArtifactSource | ArtifactUrlError } | undefined;

function parse(url: string): ArtifactSource | ArtifactUrlError {
  try {
    return parseArtifactUrl(url);
  } catch (error) {
    if (error instanceof ArtifactUrlError) return error;
    throw error;
  }
}

function unreadable(url: string, source: ArtifactSource, remedy: string): string {
  const kind = source.kind === "http" ? `${new URL(source.url).protocol}//` : `${source.kind}://`;
  return `the engine cannot read ${url} itself (vLLM knows no ${kind} artifacts): ${remedy}`;
}

function shareVolume(pod: Pod): string {
  const engine = engineContainer(pod.spec.containers)?.name ?? "the engine's container";
  return `add an emptyDir volume to the pod and mount it at ${DEFAULT_ARTIFACTS_DIR} in both containers, ${engine} and ${RUNTIME_CONTAINER} (they share none now)`;
}

function addRuntime(pod: Pod, how = "with a volume that it shares with the engine"): string {
  return runtimeContainer(pod) === undefined
    ? `add the sidecar ${RUNTIME_CONTAINER} to the pod, ${how}`
    : "start the controller with --enable-runtime-sidecar, so that the pod's sidecar fetches it";
}

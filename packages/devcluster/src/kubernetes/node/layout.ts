import { join } from "node:path";
import type { StateDir } from "../../stack/state-dir.ts";

/** The node's folders, as this machine sees them. */
export interface NodeLayout {
  /** Everything of the node that goes when it is removed. */
  readonly root: string;
  readonly config: string;
  readonly pki: string;
  /** Tells which process holds the namespaces; written when they are whole. */
  readonly holderFile: string;
  readonly holderScript: string;
  readonly enterScript: string;
  readonly kubeconfig: string;
  /** Images that were pushed; kept, so that the next start finds them. */
  readonly registryData: string;
}

/** The same folder as the node's programs see it: short, because paths of sockets may have 107 bytes, and without strange letters. */
export const INSIDE = "/run/aibrix";
/** The registry's folder as it sees it. */
export const INSIDE_REGISTRY = "/run/aibrix-registry";
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

export function nodeLayout(dir: StateDir): NodeLayout {
  const root = join(dir.cluster, "node");
  return {
    root,
    config: join(root, "config"),
    pki: join(root, "pki"),
    holderFile: join(root, "holder"),
    holderScript: join(root, "config", "holder.sh"),
    enterScript: join(root, "config", "enter.sh"),
    kubeconfig: join(dir.cluster, "kubeconfig"),
    registryData: join(dir.data, "registry"),
  };
}

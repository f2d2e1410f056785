import { createHash } from "node:crypto";

/** What the node in a state folder is called on this machine. */
export interface NodeNames {
  /** Eight hexadecimal digits that tell the nodes of several state folders apart. */
  readonly id: string;
  /** The host's end of the cable to the node. A network interface's name has 15 letters at most. */
  readonly interface: string;
  /** Folder in every hierarchy of control groups. */
  readonly cgroup: string;
}

/** @param root - absolute path of the state folder */
export function nodeNames(root: string): NodeNames {
  const id = createHash("sha256").update(root).digest("hex").slice(0, 8);
  return { id, interface: `aibrix-${id}`, cgroup: `aibrix-${id}` };
}

/** The node's name in the cluster. */
export const NODE_NAME = "aibrix-node";

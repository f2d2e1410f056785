import { rmSync } from "node:fs";
import { kubectlLink, type StateDir } from "../stack/state-dir.ts";
import { dropNote, readNote } from "./note.ts";
import type { ClusterKind, ClusterProvider } from "./provider.ts";

const REMOVE_MS = 600_000;

/** @param kubeconfig - of the cluster that exists; not needed to remove what was put there */
export async function providerOf(kind: ClusterKind, kubeconfig?: string): Promise<ClusterProvider> {
  switch (kind) {
    case "node":
      return (await import("../kubernetes/node/provider.ts")).nodeProvider;
    case "kind":
      return new (await import("./kind/provider.ts")).KindCluster();
    case "kubeconfig":
      return new (await import("./kubeconfig.ts")).ExistingCluster(kubeconfig);
  }
}

/**
 * Removes the cluster of a state folder, or what a killed supervisor has left of it. Its parts have ended before.
 * @returns its kind, or `undefined` where there was none
 * @throws where something could not be removed; the folder still knows of it then, so that the next start or stop tries again
 */
export async function removeCluster(dir: StateDir): Promise<ClusterKind | undefined> {
  const note = readNote(dir);
  if (note === undefined) return undefined;
  const provider = await providerOf(note.kind);
  // Whoever asked for the end may be gone: it has a deadline of its own.
  await provider.remove(dir, AbortSignal.timeout(REMOVE_MS));
  rmSync(kubectlLink(dir), { force: true });
  dropNote(dir);
  return note.kind;
}

import { rmSync } from "node:fs";
import { join } from "node:path";
import { readJson, type StateDir, writeJsonAtomic } from "../stack/state-dir.ts";
import type { ClusterKind } from "./provider.ts";

/** Written before a cluster is begun and removed when nothing of it is left: by it a later start or stop finds what a killed one made. */
export interface ClusterNote {
  readonly kind: ClusterKind;
}

function noteFile(dir: StateDir): string {
  return join(dir.cluster, "cluster.json");
}

export function writeNote(dir: StateDir, note: ClusterNote): void {
  writeJsonAtomic(noteFile(dir), note);
}

export function readNote(dir: StateDir): ClusterNote | undefined {
  const value = readJson(noteFile(dir)) as Partial<ClusterNote> | undefined;
  return value?.kind === undefined ? undefined : (value as ClusterNote);
}

export function dropNote(dir: StateDir): void {
  rmSync(noteFile(dir), { force: true });
}

import { basename } from "node:path";
import { nodeNames } from "@aibrix/devcluster";
import type { Platform } from "./platform.ts";
import { carriers, everyPid, readProc } from "./processes.ts";

/** Every object of the cluster but events, as `Kind namespace/name`, sorted. */
export async function everyObject(platform: Platform): Promise<readonly string[]> {
  const kinds = (await platform.kubectl("api-resources", "--verbs=list", "-o", "name")).split("\n");
  const wanted = kinds.filter((kind) => kind !== "" && !/^events(\.|$)/.test(kind)).join(",");
  const columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
  const rows = await platform.kubectl("get", wanted, "-A", "--ignore-not-found", "--no-headers", "-o", columns);
  const lines = rows.split("\n").filter((row) => row.trim() !== "");
  return lines
    .map((row) => row.trim().split(/\s+/))
    .map(([kind, namespace, name]) => `${kind} ${namespace}/${name}`)
    .sort();
}

/** Processes of this machine that run in the node's pods, by the pods' uids. Root and Linux only. */
export function podProcesses({ dir }: Platform): ReadonlyMap<string, readonly number[]> {
  const groups = new RegExp(`/${nodeNames(dir).cgroup}/kubepods/.*?pod([0-9a-f-]{36})`);
  const found = new Map<string, number[]>();
  for (const pid of everyPid()) {
    const uid = groups.exec(readProc(pid, "cgroup"))?.[1];
    if (uid !== undefined) found.set(uid, [...(found.get(uid) ?? []), pid]);
  }
  return found;
}

/** Numbers of the node's own processes that run a program of this name. Linux only. */
export function nodeProcesses({ dir }: Platform, program: string): readonly number[] {
  const programOf = (pid: number) => basename(readProc(pid, "cmdline").split("\0")[0] ?? "");
  return carriers("AIBRIX_STACK_DIR", dir).filter((pid) => programOf(pid) === program);
}

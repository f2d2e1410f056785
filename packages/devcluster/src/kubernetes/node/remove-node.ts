import { existsSync, rmSync } from "node:fs";
import { run } from "../../parts/run.ts";
import { StackError } from "../../stack/errors.ts";
import type { StateDir } from "../../stack/state-dir.ts";
import { removeCgroups } from "./cgroups.ts";
import { killNode } from "./holder.ts";
import { nodeLayout } from "./layout.ts";
import { nodeNames } from "./names.ts";

/**
 * Removes everything of the node in a state folder but the images that were pushed: processes (and with them their mounts, interfaces and
 * rules), control groups, files. Idempotent, and whole wherever an earlier end was cut off.
 * @throws StackError naming what is left, where something resists
 */
export async function removeNode(dir: StateDir, signal: AbortSignal): Promise<void> {
  if (process.platform !== "linux") return;
  const names = nodeNames(dir.root);
  const layout = nodeLayout(dir);
  const pids = await killNode(dir.root, signal);
  if (pids.length > 0)
    throw new StackError(`These processes of the node do not end: ${pids.join(", ")}. Look at them with ps, then try again.`);
  await removeInterface(names.interface, signal);
  const groups = await removeCgroups(names.cgroup, signal);
  if (groups.length > 0) throw new StackError(`These control groups are still in use: ${groups.join(", ")}. Try again.`);
  signal.throwIfAborted();
  rmSync(layout.root, { recursive: true, force: true });
  rmSync(layout.kubeconfig, { force: true });
}

/** It goes with the node's network, but the kernel takes its time for that: seconds, where it is busy. */
async function removeInterface(name: string, signal: AbortSignal): Promise<void> {
  const there = () => existsSync(`/sys/class/net/${name}`);
  if (!there()) return;
  try {
    await run({ argv: ["ip", "link", "delete", name], timeoutMs: 10_000 }, signal);
  } catch (error) {
    if (there()) throw error;
  }
}

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { run } from "../../src/parts/run.ts";
import { environmentOf, identify, type ProcessId } from "../../src/stack/process-id.ts";

/** What a node could leave on a machine, each as lines. */
export interface MachineState {
  readonly mounts: readonly string[];
  readonly interfaces: readonly string[];
  readonly firewall: readonly string[];
  readonly cgroups: readonly string[];
  /** What is in the folders that the node's programs like to write to. */
  readonly files: readonly string[];
  readonly settings: readonly string[];
}

const FOLDERS = ["/etc", "/opt", "/run", "/usr/lib", "/usr/libexec", "/var/lib", "/var/lib/cni", "/var/lib/kubelet", "/var/log"];
/** They belong to the whole machine; the kubelet and kube-proxy would like to change them. */
const SETTINGS = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"].concat([
  "kernel/keys/root_maxbytes",
  "net/ipv4/ip_forward",
  "net/ipv4/conf/all/route_localnet",
  "net/netfilter/nf_conntrack_max",
]);

/** Where the node's programs mount; others on this machine mount elsewhere while it runs. */
const NODE_MOUNTS = /^\S+ (\/run\/(aibrix|aibrix-registry|containerd|netns|cni\S*)|\/var|\/proc\/sys|\/tmp\/aibrix-node\S*)(\/| )/;
/** How the node's programs call what they make. */
const NODE_FILES = /^(aibrix|cni|containerd|containers|kube|netns|nri|pods|registry|runc|xtables)/;

/** @param ours - how names that the node made are told from those of others that run on this machine meanwhile */
export async function machineState(ours: RegExp, signal: AbortSignal): Promise<MachineState> {
  const foreign = (line: string) => /aibrix-([0-9a-f]{8}|images)/.test(line) && !ours.test(line);
  const keep = (lines: readonly string[]) => lines.filter((line) => line !== "" && !foreign(line));
  const read = (file: string) => readFileSync(file, "utf8").split("\n");
  return {
    mounts: keep(read("/proc/self/mounts").filter((line) => NODE_MOUNTS.test(line))),
    interfaces: keep(readdirSync("/sys/class/net")),
    firewall: keep((await run({ argv: ["nft", "list", "ruleset"] }, signal)).split("\n")),
    cgroups: keep(read("/proc/self/mounts").flatMap(groupsOf)),
    files: keep(
      FOLDERS.flatMap((folder) =>
        list(folder)
          .filter((name) => NODE_FILES.test(name))
          .map((name) => `${folder}/${name}`),
      ),
    ),
    settings: SETTINGS.map((name) => `${name} ${textOf(`/proc/sys/${name}`)}`),
  };
}

/** The namespaces of a process, as the kernel names them. */
export function namespacesOf(pid: number): readonly string[] {
  return ["pid", "net", "mnt"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
}

/** Processes of a node: what its first process has as descendants, pods among them, and what carries the state folder in its environment. */
export function nodeProcesses(first: number, dir: string): readonly ProcessId[] {
  const parents = new Map(
    list("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((name) => [Number(name), parentOf(Number(name))] as const),
  );
  const descends = (pid: number | undefined): boolean => pid !== undefined && (pid === first || descends(parents.get(pid)));
  return [...parents.keys()]
    .filter((pid) => descends(pid) || environmentOf(pid, "AIBRIX_STACK_DIR") === dir)
    .map(identify)
    .filter((p) => p !== undefined);
}

/** The program of a process. */
export function programOf(pid: number): string {
  return textOf(`/proc/${pid}/cmdline`).split("\0")[0] ?? "";
}

function parentOf(pid: number): number | undefined {
  const parent = /^PPid:\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1];
  return parent === undefined ? undefined : Number(parent);
}

function groupsOf(mount: string): string[] {
  const [, path = "", type] = mount.split(" ");
  if (type !== "cgroup" && type !== "cgroup2") return [];
  return list(path)
    .filter((name) => name.startsWith("aibrix-") || name.startsWith("kube"))
    .map((name) => `${path}/${name}`);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "none";
  }
}

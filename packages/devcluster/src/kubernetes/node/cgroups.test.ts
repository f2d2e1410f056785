import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { hierarchiesIn, makeCgroups } from "./cgroups.ts";

/** A folder with the files of a hierarchy's root. In the kernel's own, a write to `cgroup.subtree_control` adds; here it replaces. */
function root(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), "cgroups-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

test("hierarchies of both kinds are found, and nothing else", () => {
  const mounts = [
    "proc /proc proc rw 0 0",
    "tmpfs /sys/fs/cgroup tmpfs rw 0 0",
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0",
    "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
    "",
  ].join("\n");
  expect(hierarchiesIn(mounts)).toEqual([
    { path: "/sys/fs/cgroup/cpu,cpuacct", version: 1 },
    { path: "/sys/fs/cgroup/unified", version: 2 },
  ]);
});

test.each([
  { name: "all that a kubelet wants", on: "\n", written: "+cpuset +cpu +io +memory +hugetlb +pids" },
  { name: "what systemd left out", on: "cpu io memory pids\n", written: "+cpuset +hugetlb" },
  { name: "nothing where all is on", on: "cpuset cpu io memory hugetlb pids\n", written: "cpuset cpu io memory hugetlb pids\n" },
])("of the newer kind the root passes on $name", ({ on, written }) => {
  const dir = root({ "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n", "cgroup.subtree_control": on });
  makeCgroups("aibrix-1", `cgroup2 ${dir} cgroup2 rw 0 0\n`);
  expect(readFileSync(join(dir, "cgroup.subtree_control"), "utf8")).toBe(written);
  expect(existsSync(join(dir, "aibrix-1"))).toBe(true);
});

test("a controller that the kernel does not have is not asked for", () => {
  const dir = root({ "cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": "" });
  makeCgroups("aibrix-1", `cgroup2 ${dir} cgroup2 rw 0 0\n`);
  expect(readFileSync(join(dir, "cgroup.subtree_control"), "utf8")).toBe("+cpu +memory");
});

test("beside the older kind the newer one is left alone", () => {
  const [old, unified] = [root({}), root({ "cgroup.controllers": "hugetlb\n", "cgroup.subtree_control": "" })];
  makeCgroups("aibrix-1", `cgroup ${old} cgroup rw,cpu 0 0\ncgroup2 ${unified} cgroup2 rw 0 0\n`);
  expect([existsSync(join(old, "aibrix-1")), existsSync(join(unified, "aibrix-1"))]).toEqual([true, false]);
  expect(readFileSync(join(unified, "cgroup.subtree_control"), "utf8")).toBe("");
});

import { expect, test } from "vitest";
import { hierarchiesIn } from "./cgroups.ts";

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

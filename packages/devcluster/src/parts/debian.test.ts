import { expect, test } from "vitest";
import { ensureSystemPrograms, missingText } from "./debian.ts";

test.each([
  {
    debian: true,
    want: "these programs are not on this machine: nft, /usr/lib/cni/ptp, /usr/lib/cni/loopback. Install them as root: apt-get install --no-install-recommends containernetworking-plugins nftables.",
  },
  {
    debian: false,
    want: "these programs are not on this machine: nft, /usr/lib/cni/ptp, /usr/lib/cni/loopback. Install what your system has in place of Debian's packages containernetworking-plugins nftables.",
  },
])("names what is missing and how to get it (Debian: $debian)", ({ debian, want }) => {
  const cni = { package: "containernetworking-plugins", folders: ["/usr/lib/cni", "/opt/cni/bin"] };
  const missing = [
    { name: "nft", package: "nftables" },
    { ...cni, name: "ptp" },
    { ...cni, name: "loopback" },
  ];
  expect(missingText(missing, debian)).toBe(want);
});

test("finds what is there without asking the package manager", async () => {
  const lines: string[] = [];
  const context = { log: (line: string) => void lines.push(line), signal: AbortSignal.timeout(10_000) };
  const found = await ensureSystemPrograms(
    [
      { name: "sh", package: "dash" },
      { name: "env", package: "coreutils", folders: ["/nowhere", "/usr/bin"] },
    ],
    context,
  );
  expect(found).toEqual({ sh: expect.stringMatching(/\/sh$/), env: "/usr/bin/env" });
  expect(lines).toEqual([]);
});

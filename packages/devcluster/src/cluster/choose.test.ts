import { expect, test } from "vitest";
import { chooseCluster } from "./choose.ts";

const NOTHING = { linux: false, root: false, docker: false, kind: false };
const LINUX_ROOT = { ...NOTHING, linux: true, root: true };
const DOCKER = { ...NOTHING, docker: true, kind: true };
const ANY = { cluster: undefined, kubeconfig: undefined };

test.each([
  { wanted: ANY, machine: LINUX_ROOT, chosen: "node" },
  { wanted: ANY, machine: { ...LINUX_ROOT, kind: true }, chosen: "node" },
  { wanted: ANY, machine: { ...LINUX_ROOT, docker: true }, chosen: "node" },
  { wanted: ANY, machine: DOCKER, chosen: "kind" },
  { wanted: ANY, machine: { ...LINUX_ROOT, ...DOCKER, linux: true, root: true }, chosen: "kind" },
  { wanted: { ...ANY, cluster: "node" }, machine: { ...DOCKER, linux: true, root: true }, chosen: "node" },
  { wanted: { ...ANY, kubeconfig: "/k" }, machine: NOTHING, chosen: "kubeconfig" },
] as const)("$wanted on $machine: $chosen", ({ wanted, machine, chosen }) => {
  expect(chooseCluster(wanted, machine)).toBe(chosen);
});

test.each([
  {
    cluster: undefined,
    says: /A cluster of kind: it needs a Docker engine[\s\S]*A node of its own: it needs Linux[\s\S]*--kubeconfig FILE/,
  },
  { cluster: "node", says: /--cluster node cannot be started here: it needs Linux/ },
  { cluster: "kind", says: /--cluster kind cannot be started here: it needs a Docker engine .* and the program kind on PATH/ },
] as const)("a machine that can have neither is told what is missing ($cluster)", ({ cluster, says }) => {
  expect(() => chooseCluster({ ...ANY, cluster }, NOTHING)).toThrow(says);
});

test("Linux without root is told so", () => {
  expect(() => chooseCluster({ ...ANY, cluster: "node" }, { ...NOTHING, linux: true })).toThrow(/it needs root/);
});

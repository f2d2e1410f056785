import { expect, test } from "vitest";
import { stateDir } from "../../stack/state-dir.ts";
import { nodeLayout } from "./layout.ts";
import { nodeNames } from "./names.ts";
import { type NodePlanInput, type NodePrograms, planApiserver, planBasics, planHolder, planPolicies, planRest } from "./plan-node.ts";

const PROGRAMS = Object.fromEntries(
  ["etcd", "kubeApiserver", "kubectl", "kubeControllerManager", "kubeScheduler", "kubelet", "kubeProxy", "containerd", "ctr"]
    .concat(["kubeRouter", "containerdDir", "registry", "runc", "cniDir", "pause"])
    .map((name) => [name, `/bin/${name}`]),
) as unknown as NodePrograms;

const input: NodePlanInput = {
  programs: PROGRAMS,
  names: nodeNames("/home/a/.aibrix"),
  subnet: { host: "10.213.0.5", node: "10.213.0.6", prefix: 30 },
  layout: nodeLayout(stateDir("/home/a/.aibrix")),
  path: "/usr/bin",
};
const programs = [...planBasics(input), planApiserver(input), ...planRest(input), planPolicies(input)];

test("names of two state folders differ, and fit where the kernel is narrow", () => {
  const other = nodeNames("/home/b/.aibrix");
  expect(other.id).not.toBe(input.names.id);
  expect(other.interface).toHaveLength(15);
  expect(nodeNames("/home/a/.aibrix")).toEqual(input.names);
});

test("the holder starts outside and is told all it makes", () => {
  const { args, probe } = planHolder(input);
  expect(args.slice(3)).toEqual([
    "/home/a/.aibrix/cluster/node/config/holder.sh",
    "/home/a/.aibrix/cluster/node",
    "/home/a/.aibrix/data/registry",
    input.names.interface,
    "10.213.0.5",
    "10.213.0.6",
    "30",
    "10.96.0.0/16",
    "/bin/pause",
  ]);
  expect(probe.kind).toBe("holder");
});

test("every program enters the namespaces, sees the folder where it is inside, and no proxy", () => {
  for (const { name, command, args, env } of programs) {
    expect([name, command, ...args.slice(0, 2)]).toEqual([
      name,
      "sh",
      "/home/a/.aibrix/cluster/node/config/enter.sh",
      "/home/a/.aibrix/cluster/node/holder",
    ]);
    expect(args.slice(2).join(" "), name).not.toContain("/home/a");
    expect(env).toMatchObject({ HTTPS_PROXY: undefined, https_proxy: undefined, KUBECONFIG: undefined });
    expect(env.PATH).toBe("/bin/containerdDir:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin");
  }
});

test("every program is asked at the node's address whether it works", () => {
  expect(programs.map(({ name, probe }) => `${name} ${probe.kind === "holder" ? "" : probe.url}`)).toEqual([
    "etcd http://10.213.0.6:2381/health",
    "containerd http://10.213.0.6:1338/v1/metrics",
    "registry http://10.213.0.6:5000/v2/",
    "kube-apiserver https://10.213.0.6:6443/readyz",
    "kube-controller-manager https://10.213.0.6:10257/healthz",
    "kube-scheduler https://10.213.0.6:10259/healthz",
    "kubelet http://10.213.0.6:10248/healthz",
    "kube-proxy http://10.213.0.6:10256/healthz",
    "kube-router http://10.213.0.6:20244/healthz",
  ]);
});

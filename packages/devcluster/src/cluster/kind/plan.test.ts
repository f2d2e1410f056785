import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { gpuArgs } from "../gpus.ts";
import { createCluster, deleteCluster, findRegistry, kindConfig, mirror, removeRegistry, runRegistry } from "./plan.ts";

const INPUT = { name: "aibrix-1", kubeconfig: "/s/kubeconfig", gatewayPort: 40_001, registryPort: 40_002 };

test("the port that the gateway's Service has at the node's address leads to a port of this machine alone", () => {
  expect(parse(kindConfig(INPUT)).nodes).toEqual([
    {
      role: "control-plane",
      extraPortMappings: [{ containerPort: 80, hostPort: 40_001, listenAddress: "127.0.0.1", protocol: "TCP" }],
    },
  ]);
});

test("the cluster's and the registry's names belong together, and the user's kubeconfig is left alone", () => {
  const flags = "--name aibrix-1 --config /s/kind.yaml --kubeconfig /s/kubeconfig";
  expect(createCluster(INPUT, "/s/kind.yaml").join(" ")).toBe(`kind create cluster ${flags} --wait 180s`);
  expect(deleteCluster("aibrix-1", "/s/kubeconfig").join(" ")).toBe("kind delete cluster --name aibrix-1 --kubeconfig /s/kubeconfig");
  expect(runRegistry(INPUT).join(" ")).toBe(
    "docker run --detach --name aibrix-1-registry --network kind --publish 127.0.0.1:40002:5000 registry:2",
  );
  expect(findRegistry("aibrix-1").at(-1)).toBe("name=^aibrix-1-registry$");
  expect(removeRegistry("aibrix-1").at(-1)).toBe("aibrix-1-registry");
});

test("containerd looks for such files also in nodes of an older kind", () => {
  expect(parse(kindConfig(INPUT)).containerdConfigPatches).toEqual([
    '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
  ]);
});

test("a node's containerd is told by a file to ask the registry first", () => {
  const dir = mkdtempSync(join(tmpdir(), "aibrix-kind-"));
  const [, , node, shell, ...args] = mirror("aibrix-1", "aibrix-1-control-plane");
  expect([node, shell, args.at(-2)]).toEqual(["aibrix-1-control-plane", "sh", "/etc/containerd/certs.d/docker.io"]);
  // The very shell line that runs in the node, with a folder of ours.
  execFileSync("sh", args.with(-2, join(dir, "docker.io")));
  expect(readFileSync(join(dir, "docker.io/hosts.toml"), "utf8")).toBe(
    '[host."http://aibrix-1-registry:5000"]\n  capabilities = ["pull", "resolve"]\n',
  );
  rmSync(dir, { recursive: true });
});

test("GPUs are written into the node's status", () => {
  expect(gpuArgs("n")).toEqual([
    "patch",
    "node",
    "n",
    "--subresource=status",
    "--type=json",
    "-p",
    '[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"8"},{"op":"add","path":"/status/allocatable/nvidia.com~1gpu","value":"8"}]',
  ]);
});

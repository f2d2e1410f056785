import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ControlPlane, ENVOY_GATEWAY_VERSION, ensureGatewayCrds, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { deploy, undeploy } from "../src/cluster/deploy.ts";
import { installEnvoyGateway } from "../src/cluster/envoy-gateway.ts";
import { ExistingCluster } from "../src/cluster/kubeconfig.ts";
import { Kubectl } from "../src/cluster/kubectl.ts";
import type { ClusterHandle } from "../src/cluster/provider.ts";
import { callApi } from "../src/kubernetes/api-client.ts";
import { createClusterDirs, createStateDir, type StateDir, stateDir } from "../src/stack/state-dir.ts";
import { Supervisor } from "../src/stack/supervisor.ts";
import { sleep } from "../src/stack/time.ts";

const NODE = { apiVersion: "v1", kind: "Node", metadata: { name: "worker" } };
const NODE_STATUS = {
  status: {
    conditions: [{ type: "Ready", status: "True", reason: "x", message: "x" }],
    addresses: [{ type: "InternalIP", address: "192.0.2.7" }],
  },
};
const FINALIZER = "adapter.model.aibrix.ai/finalizer";
const ADAPTER = {
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: { name: "sql", namespace: "default", finalizers: [FINALIZER] },
  spec: { baseModel: "base", podSelector: { matchLabels: { "model.aibrix.ai/name": "base" } }, artifactURL: "huggingface://acme/sql-lora" },
};
const MS = 480_000;
const signal = AbortSignal.timeout(3_600_000);

let plane: ControlPlane;
let admin: Kubectl;
let scratch: string;
let dir: StateDir;
const said: string[] = [];
let controllers: AbortController;
let working: Promise<unknown>;

beforeAll(async () => {
  const binaries = await ensureKubernetes({ log: console.log, signal });
  plane = await startControlPlane({ binaries }, signal);
  admin = new Kubectl({ kind: "kubeconfig", kubectl: binaries.kubectl, kubeconfig: plane.kubeconfig });
  scratch = mkdtempSync(join(tmpdir(), "aibrix-existing-"));
  controllers = new AbortController();
  working = finalizeNamespaces(controllers.signal);
}, 3_600_000);
afterAll(async () => {
  controllers.abort();
  await working;
  await plane?.stop();
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(() => {
  dir = newDir();
  said.length = 0;
});
afterEach(async () => {
  await admin.run(["delete", "node", "--all", "--ignore-not-found"], signal);
});

function newDir(): StateDir {
  const made = stateDir(mkdtempSync(join(scratch, "state-")));
  createStateDir(made);
  createClusterDirs(made);
  return made;
}

function start(into: StateDir = dir): Promise<ClusterHandle> {
  const nothing = () => undefined;
  const supervisor = new Supervisor({ stackDir: into.root, record: nothing, log: nothing, report: nothing });
  const say = (line: string) => said.push(line);
  return new ExistingCluster(plane.kubeconfig).start({ supervisor, dir: into, say, parts: { log: say, signal } }, signal);
}

async function apply(object: object): Promise<void> {
  const file = join(scratch, "object.json");
  writeFileSync(file, JSON.stringify(object));
  await admin.run(["apply", "--server-side", "-f", file], signal);
}

async function addNode(): Promise<void> {
  await apply(NODE);
  await admin.run(["patch", "node", "worker", "--subresource=status", "--type=merge", "-p", JSON.stringify(NODE_STATUS)], signal);
}

const context = { log: (line: string) => said.push(line), signal };
const there = async (...what: string[]) => (await admin.run(["get", ...what, "--ignore-not-found", "-o", "name"], signal)).trim() !== "";

/**
 * The work of the garbage collector, which this control plane does not have: it watches every kind, so the API server has each one's storage
 * at hand when its CRD is deleted. Where it has not, the deletion of the CRD fails at first, and is tried again as late as minutes later.
 */
async function readEveryKind(): Promise<void> {
  const names = await admin.run(["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"], signal);
  await admin.run(["get", names.trim().replaceAll(" ", ","), "-A"], signal);
}

/** The work of the namespace controller, which this control plane does not have: what is in a namespace was deleted before. */
async function finalizeNamespaces(stop: AbortSignal): Promise<void> {
  const file = join(scratch, "namespace.json");
  while (await sleep(300, stop)) {
    // Without a program for each look: these are many.
    const answer = await callApi(`${plane.url}/api/v1/namespaces`, plane.admin, stop).catch(() => undefined);
    if (answer?.status !== 200) continue;
    const { items } = JSON.parse(answer.text) as { items: readonly { metadata: { name: string; deletionTimestamp?: string } }[] };
    for (const namespace of items.filter((n) => n.metadata.deletionTimestamp !== undefined)) {
      writeFileSync(file, JSON.stringify({ ...namespace, spec: { finalizers: [] } }));
      const path = `/api/v1/namespaces/${namespace.metadata.name}/finalize`;
      await admin.run(["replace", "--raw", path, "-f", file], signal).catch(() => undefined);
    }
  }
}

test("a cluster without a node that is Ready is not taken", { timeout: MS }, async () => {
  await expect(start()).rejects.toThrow(/no node that is Ready: see kubectl get nodes/);
});

test("a cluster that does not answer is named with its file", { timeout: MS }, async () => {
  const file = join(scratch, "away.kubeconfig");
  writeFileSync(file, readFileSync(plane.kubeconfig, "utf8").replace(/127\.0\.0\.1:\d+/, "127.0.0.1:9"));
  const provider = new ExistingCluster(file);
  const nothing = () => undefined;
  const supervisor = new Supervisor({ stackDir: dir.root, record: nothing, log: nothing, report: nothing });
  const starting = provider.start({ supervisor, dir, say: nothing, parts: { log: nothing, signal } }, signal);
  await expect(starting).rejects.toThrow(/The cluster of .*away\.kubeconfig does not answer[\s\S]*kubectl --kubeconfig .* get nodes/);
});

test("what is deployed is deleted again: ModelAdapters while the controller is there, then the manifests, and nothing else", {
  timeout: MS,
}, async () => {
  await addNode();
  const cluster = await start();
  expect(cluster).toMatchObject({ kind: "kubeconfig", registry: undefined, gatewayHost: "192.0.2.7" });
  expect(statSync(cluster.kubeconfig).mode & 0o777).toBe(0o600);
  await apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "users-own", namespace: "default" } });

  const kubectl = new Kubectl(cluster);
  await installEnvoyGateway(kubectl, dir, "registry.example/dev", context, signal);
  expect(await admin.run(["get", "deployment", "envoy-gateway", "-n", "envoy-gateway-system", "-o", "jsonpath={..image}"], signal)).toBe(
    `registry.example/dev/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`,
  );
  const { deployments, images } = await deploy(kubectl, dir, "registry.example/dev", signal);
  expect(deployments).toContainEqual({ name: "aibrix-controller-manager", namespace: "aibrix-system" });
  for (const image of images) expect(image).toMatch(/^registry\.example\/dev\/\w/);
  for (const { name, namespace = "" } of deployments) expect(await there("deployment", "-n", namespace, name)).toBe(true);

  // Another state folder does not own it: it neither overwrites nor deletes it.
  const other = newDir();
  await expect(start(other)).rejects.toThrow(/has .*crd|customresourcedefinition.*already[\s\S]*npm run stop/i);
  await new ExistingCluster().remove(other, signal);
  expect(await there("crd", "modeladapters.model.aibrix.ai")).toBe(true);

  await apply(ADAPTER);
  await readEveryKind();
  const removing = new ExistingCluster().remove(dir, signal);
  const deleting = () => admin.run(["get", "modeladapter", "sql", "-o", "jsonpath={.metadata.deletionTimestamp}"], signal);
  await expect.poll(deleting, { timeout: MS }).not.toBe("");
  expect(await there("deployment", "-n", "aibrix-system", "aibrix-controller-manager")).toBe(true);
  await admin.run(["patch", "modeladapter", "sql", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'], signal);
  await removing;

  expect(await there("crd", "modeladapters.model.aibrix.ai")).toBe(false);
  expect(await there("namespace", "aibrix-system", "aibrix-dev")).toBe(false);
  expect(await there("crd")).toBe(false);
  expect(await there("namespace", "envoy-gateway-system")).toBe(false);
  expect(await there("clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=gateway-helm")).toBe(false);
  expect(await there("mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings")).toBe(false);
  expect(await there("configmap", "users-own")).toBe(true);
  expect(existsSync(cluster.kubeconfig)).toBe(false);
  await new ExistingCluster().remove(dir, signal);
});

test("an Envoy Gateway that is there is used and stays, and the Gateway API's CRDs of another are not overwritten", {
  timeout: MS,
}, async () => {
  await addNode();
  const kubectl = new Kubectl(await start());
  const crds = await ensureGatewayCrds(context);
  const api = ["-f", join(crds, "gatewayapi-crds.yaml")];
  const theirs = ["-f", join(crds, "generated")];
  await admin.run(["apply", "--server-side", ...api], signal);
  await expect(installEnvoyGateway(kubectl, dir, undefined, context, signal)).rejects.toThrow(
    /CRDs of another implementation[\s\S]*Install Envoy Gateway v.*install\.md/,
  );
  await admin.run(["apply", "--server-side", ...theirs], signal);
  await installEnvoyGateway(kubectl, dir, undefined, context, signal);
  expect(said.join("\n")).toContain("the cluster has Envoy Gateway: it is used as it is");
  expect(await there("namespace", "envoy-gateway-system")).toBe(false);
  await readEveryKind();
  await new ExistingCluster().remove(dir, signal);
  expect(await there("crd", "envoyproxies.gateway.envoyproxy.io")).toBe(true);
});

// With the Envoy Gateway of the test before.
test("a ModelAdapter that stays is named, and the controller that it needs stays too", { timeout: MS }, async () => {
  await addNode();
  const cluster = await start();
  const kubectl = new Kubectl(cluster);
  await deploy(kubectl, dir, undefined, signal);
  await apply(ADAPTER);
  await expect(undeploy(kubectl, dir, signal, 2_000)).rejects.toThrow(
    /^default\/sql cannot be deleted[\s\S]*logs deployment\/aibrix-controller-manager/,
  );
  expect(await there("deployment", "-n", "aibrix-system", "aibrix-controller-manager")).toBe(true);
  await admin.run(["patch", "modeladapter", "sql", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'], signal);
  await readEveryKind();
  await new ExistingCluster().remove(dir, signal);
  expect(await there("crd", "modeladapters.model.aibrix.ai")).toBe(false);
});

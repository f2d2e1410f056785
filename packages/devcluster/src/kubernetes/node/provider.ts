import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { keepAddresses } from "../../cluster/addresses.ts";
import { gpuPatch } from "../../cluster/gpus.ts";
import { GATEWAY_PORT } from "../../cluster/platform.ts";
import type { ClusterDeps, ClusterHandle, ClusterProvider } from "../../cluster/provider.ts";
import { PartError } from "../../parts/part-context.ts";
import { run } from "../../parts/run.ts";
import { allReady } from "../../stack/all-ready.ts";
import { StackError } from "../../stack/errors.ts";
import type { PartSpec } from "../../stack/part.ts";
import { untilAnswers } from "../../stack/probe.ts";
import { logFile } from "../../stack/state-dir.ts";
import { deadline, sleep, span, until } from "../../stack/time.ts";
import { type ClientConfig, callApi } from "../api-client.ts";
import { makeCgroups } from "./cgroups.ts";
import { configFiles, REGISTRY_PORT } from "./config-files.ts";
import { COREDNS_PATH, corednsManifest } from "./coredns.ts";
import { writeCredentials } from "./credentials.ts";
import { keepGpus } from "./gpus.ts";
import { readHolder } from "./holder.ts";
import { kubeRouterManifest } from "./kube-router.ts";
import { CONTAINERD_SOCKET, type NodeLayout, nodeLayout } from "./layout.ts";
import { NODE_NAME, nodeNames } from "./names.ts";
import { chooseSubnet } from "./network.ts";
import { type NodePart, type NodePlanInput, planApiserver, planBasics, planHolder, planPolicies, planRest } from "./plan-node.ts";
import { COREDNS_IMAGE, ensureNodeParts, PAUSE_IMAGE } from "./programs.ts";
import { removeNode } from "./remove-node.ts";
import { ENTER_SCRIPT, HOLDER_SCRIPT } from "./scripts.ts";

/** From the API server's readiness until node, names and accounts are there. */
const WHOLE_WITHIN_MS = 180_000;
const IMPORT_WITHIN_MS = 120_000;
const STILL_WAITING_MS = 10_000;

/** A real Kubernetes node of this machine, in namespaces of its own. Linux and root only. */
export const nodeProvider: ClusterProvider = { kind: "node", start: startNode, remove: removeNode };

async function startNode(deps: ClusterDeps, signal: AbortSignal): Promise<ClusterHandle> {
  requireRoot();
  const { dir, say } = deps;
  const parts = await ensureNodeParts(deps.parts);
  await removeNode(dir, signal);
  const names = nodeNames(dir.root);
  const layout = nodeLayout(dir);
  const subnet = chooseSubnet(names.id, takenNetworks());
  if (subnet === undefined)
    throw new StackError("No network of four addresses is free in 10.213.0.0/16: remove an interface that uses it.");
  const input: NodePlanInput = { programs: parts.programs, names, subnet, layout, path: process.env.PATH ?? "" };

  writeFiles(input);
  const admin = await writeCredentials(layout, subnet, signal);
  makeCgroups(names.cgroup);
  const begin = (plans: readonly NodePart[]) => plans.map((plan) => deps.supervisor.start(specOf(plan, layout, admin)));
  await allReady(begin([planHolder(input)]), { dir, say }, signal);
  await allReady(begin(planBasics(input)), { dir, say }, signal);
  await Promise.all([allReady(begin([planApiserver(input)]), { dir, say }, signal), importImages(input, parts.images, signal)]);
  const rest = begin(planRest(input));
  await Promise.all([apply(input, signal), allReady(rest, { dir, say }, signal)]);
  await whole(admin, deps, signal);
  await allReady(begin([planPolicies(input)]), { dir, say }, signal);
  return {
    kind: "node",
    kubeconfig: layout.kubeconfig,
    kubectl: parts.programs.kubectl,
    registry: `http://${subnet.node}:${REGISTRY_PORT}`,
    gatewayHost: subnet.node,
    gatewayPort: GATEWAY_PORT,
  };
}

function requireRoot(): void {
  if (process.platform === "linux" && process.getuid?.() === 0) return;
  throw new PartError(
    "a node of this machine needs Linux and root: its namespaces and control groups are made with root's rights. Start as root, or use kind (--cluster kind) or a cluster that exists (--kubeconfig FILE).",
  );
}

function takenNetworks(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.flatMap(({ cidr }) => (cidr === null ? [] : [cidr])));
}

function writeFiles({ programs, names, subnet, layout }: NodePlanInput): void {
  for (const folder of ["config", "tmp", "pod-logs", "volume-plugins"]) mkdirSync(join(layout.root, folder), { recursive: true });
  // What is in it belongs to many users; nobody else has to look into it.
  chmodSync(layout.root, 0o700);
  mkdirSync(layout.registryData, { recursive: true });
  const files = {
    ...configFiles({
      node: subnet.node,
      cgroup: names.cgroup,
      runc: programs.runc,
      cniDir: programs.cniDir,
      pauseImage: PAUSE_IMAGE,
    }),
    "config/holder.sh": HOLDER_SCRIPT,
    "config/enter.sh": ENTER_SCRIPT,
    "config/coredns.json": JSON.stringify(corednsManifest(COREDNS_IMAGE), null, 2),
    "config/kube-router.json": JSON.stringify(kubeRouterManifest(), null, 2),
  };
  for (const [name, text] of Object.entries(files)) {
    const file = join(layout.root, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

function specOf(plan: NodePart, layout: NodeLayout, admin: ClientConfig): PartSpec {
  return {
    ...plan,
    ready: async (signal) => {
      // It lives as long as this kubelet, and no longer.
      if (plan.name === "kubelet") void keepGpus(admin, signal);
      if (plan.name === "kube-proxy") void keepAddresses(admin, new URL(admin.server).hostname, signal);
      await answers(plan, layout, admin.ca, signal);
    },
    // Nothing of it outlives the node, so nothing has to be put in order; and all end at the same moment, because they end with the first.
    graceMs: 0,
    stopOrder: 0,
  };
}

async function answers({ probe }: NodePart, layout: NodeLayout, ca: string, signal: AbortSignal): Promise<void> {
  if (probe.kind === "http") return untilAnswers(probe.url, false, signal);
  const check =
    probe.kind === "holder"
      ? () => readHolder(layout.holderFile) !== undefined
      : async () => (await callApi(probe.url, { ca }, signal)).status === 200;
  if (!(await until(check, 50, signal))) throw signal.reason;
}

async function importImages({ programs, layout }: NodePlanInput, archives: readonly string[], signal: AbortSignal): Promise<void> {
  const ctr = [layout.enterScript, layout.holderFile, programs.ctr, "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"];
  for (const archive of archives) {
    await run({ argv: ["sh", ...ctr, "images", "import", archive], timeoutMs: IMPORT_WITHIN_MS }, signal);
  }
}

async function apply({ programs, layout }: NodePlanInput, signal: AbortSignal): Promise<void> {
  const files = ["coredns.json", "kube-router.json"].flatMap((name) => ["-f", join(layout.config, name)]);
  const argv = [programs.kubectl, "--kubeconfig", layout.kubeconfig, "apply", "--server-side", ...files] as const;
  await run({ argv, env: { HTTPS_PROXY: undefined, https_proxy: undefined }, timeoutMs: 60_000 }, signal);
}

/** Waits for what a user's first pod needs. */
async function whole(admin: ClientConfig, { dir, say }: ClusterDeps, signal: AbortSignal): Promise<void> {
  const within = deadline(WHOLE_WITHIN_MS, signal);
  const startedMs = performance.now();
  const waits = [
    { what: "the node to be Ready", path: `/api/v1/nodes/${NODE_NAME}`, holds: isReady },
    { what: "the node's GPUs", path: `/api/v1/nodes/${NODE_NAME}`, holds: (node: object) => gpuPatch(node).length === 0 },
    { what: "pods' accounts", path: "/api/v1/namespaces/default/serviceaccounts/default", holds: () => true },
    { what: "CoreDNS", path: COREDNS_PATH, holds: isAvailable },
  ];
  for (const { what, path, holds } of waits) {
    const waiting = new AbortController();
    const reminder = (async () => {
      while (await sleep(STILL_WAITING_MS, AbortSignal.any([within, waiting.signal]))) {
        say(`still waiting for ${what} (${span(performance.now() - startedMs)})`);
      }
    })();
    const there = await until(
      async () => {
        const { status, text } = await callApi(`${admin.server}${path}`, admin, within);
        return status === 200 && holds(JSON.parse(text));
      },
      100,
      within,
    );
    waiting.abort();
    await reminder;
    signal.throwIfAborted();
    if (!there) {
      throw new StackError(
        `Waited ${span(performance.now() - startedMs)} for ${what}. Look into ${logFile(dir, "kubelet")} and ${logFile(dir, "containerd")}.`,
      );
    }
  }
}

interface Conditions {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

function isReady(node: Conditions): boolean {
  return hasCondition(node, "Ready");
}

function isAvailable(deployment: Conditions): boolean {
  return hasCondition(deployment, "Available");
}

function hasCondition({ status }: Conditions, type: string): boolean {
  return status?.conditions?.some((c) => c.type === type && c.status === "True") === true;
}

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type ControlPlane, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { ENDPOINT_SLICES, type EndpointSlice, KubeClient, loadKubeConfig } from "@aibrix/kube";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { devServices, freePort, type Program, statusOf } from "./support/program.ts";

const DEPLOY = fileURLToPath(new URL("../../../deploy/", import.meta.url));
const soon = { timeout: 60_000, interval: 50 };
const inTime = (): AbortSignal => AbortSignal.timeout(30_000);

const dir = mkdtempSync(join(tmpdir(), "aibrix-envoy-endpoints-"));
const file = join(dir, "endpoints/engines.json");
let plane: ControlPlane;
let admin: KubeClient;
/** Of the service account that Envoy's pod has. */
let kubeconfig: string;

beforeAll(async () => {
  const signal = AbortSignal.timeout(3_600_000);
  const binaries = await ensureKubernetes({ log: (line) => void process.stderr.write(`${line}\n`), signal });
  plane = await startControlPlane({ binaries }, signal);
  const files = ["overlays/dev/namespaces.yaml", "envoy/rbac.yaml"].flatMap((f) => ["-f", `${DEPLOY}${f}`]);
  const kubectl = (...args: string[]) => promisify(execFile)(binaries.kubectl, ["--kubeconfig", plane.kubeconfig, ...args]);
  await kubectl("apply", "--server-side", ...files);
  const { stdout } = await kubectl("create", "token", "aibrix-envoy", "-n", "aibrix-system");
  kubeconfig = await plane.kubeconfigFor("envoy", { token: stdout.trim() }, inTime());
  admin = new KubeClient({ config: loadKubeConfig({ file: plane.kubeconfig }), userAgent: "test", fieldManager: "test" });
}, 3_600_000);

afterAll(async () => {
  await admin?.close();
  await plane?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Writes a slice as the controller does. */
async function slice(name: string, port: number, ready: readonly string[], over: Partial<EndpointSlice> = {}): Promise<void> {
  const object: EndpointSlice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name,
      namespace: "aibrix-system",
      labels: {
        "kubernetes.io/service-name": "aibrix-engines",
        "endpointslice.kubernetes.io/managed-by": "aibrix-controller-manager",
      },
    },
    addressType: "IPv4",
    endpoints: ready.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    ports: [{ name: "http", port, protocol: "TCP" }],
    ...over,
  };
  await admin.apply(ENDPOINT_SLICES, object, {}, inTime());
}

/** What the file says, as addresses. */
function engines(): readonly string[] {
  const { resources } = JSON.parse(readFileSync(file, "utf8"));
  expect(resources).toHaveLength(1);
  expect(resources[0].cluster_name).toBe("aibrix-engines");
  return resources[0].endpoints[0].lb_endpoints.map(
    ({ endpoint }: { endpoint: { address: { socket_address: { address: string; port_value: number } } } }) =>
      `${endpoint.address.socket_address.address} ${endpoint.address.socket_address.port_value}`,
  );
}

async function startProgram(): Promise<{ readonly program: Program; readonly readyUrl: string }> {
  const port = await freePort();
  const args = ["envoy-endpoints", `--file=${file}`, `--health-probe-bind-address=127.0.0.1:${port}`, `--kubeconfig=${kubeconfig}`];
  return { program: devServices(args), readyUrl: `http://127.0.0.1:${port}/readyz` };
}

test("the file follows the slices: addresses and ports of ready endpoints, in both families", async () => {
  const { program, readyUrl } = await startProgram();
  await vi.waitFor(async () => expect(await statusOf(readyUrl)).toBe(200), soon);
  expect(engines()).toEqual([]);
  const before = statSync(file).ino;

  await slice("a", 8000, ["10.0.0.1", "10.0.0.2"]);
  await vi.waitFor(() => expect(engines()).toEqual(["10.0.0.1 8000", "10.0.0.2 8000"]), soon);
  expect(statSync(file).ino).not.toBe(before);

  await slice("b", 9000, ["fd00::1"], { addressType: "IPv6" });
  await vi.waitFor(() => expect(engines()).toEqual(["10.0.0.1 8000", "10.0.0.2 8000", "fd00::1 9000"]), soon);

  const endpoints = [{ addresses: ["10.0.0.1"], conditions: { ready: false } }, { addresses: ["10.0.0.2"] }];
  await slice("a", 8000, [], { endpoints });
  await vi.waitFor(() => expect(engines()).toEqual(["10.0.0.2 8000", "fd00::1 9000"]), soon);

  // Neither another Service's slice nor one that somebody else wrote counts; the last change shows that they were passed over.
  const foreign = { "kubernetes.io/service-name": "aibrix-engines", "endpointslice.kubernetes.io/managed-by": "somebody" };
  await slice("c", 8000, ["10.0.0.3"], { metadata: { name: "c", namespace: "aibrix-system", labels: foreign } });
  const other = {
    ...foreign,
    "kubernetes.io/service-name": "other",
    "endpointslice.kubernetes.io/managed-by": "aibrix-controller-manager",
  };
  await slice("d", 8000, ["10.0.0.4"], { metadata: { name: "d", namespace: "aibrix-system", labels: other } });
  await admin.delete(ENDPOINT_SLICES, { namespace: "aibrix-system", name: "b" }, {}, inTime());
  await vi.waitFor(() => expect(engines()).toEqual(["10.0.0.2 8000"]), soon);
  expect(await program.stop()).toBe(0);
});

test("a restart never empties a file that Envoy serves by", async () => {
  await slice("a", 8000, ["10.0.0.2"]);
  const first = await startProgram();
  await vi.waitFor(async () => expect(await statusOf(first.readyUrl)).toBe(200), soon);
  expect(engines()).toEqual(["10.0.0.2 8000"]);
  expect(await first.program.stop()).toBe(0);

  // Without rights nothing is listed, and what was there stays.
  const args = ["envoy-endpoints", `--file=${file}`, "--namespace=default", `--kubeconfig=${kubeconfig}`];
  const port = await freePort();
  const blind = devServices([...args, `--health-probe-bind-address=127.0.0.1:${port}`]);
  await vi.waitFor(() => expect(blind.output()).toContain("forbidden"), soon);
  expect(await statusOf(`http://127.0.0.1:${port}/readyz`)).toBe(503);
  expect(await statusOf(`http://127.0.0.1:${port}/healthz`)).toBe(200);
  expect(engines()).toEqual(["10.0.0.2 8000"]);
  expect(await blind.stop()).toBe(0);
});

import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { type ControlPlane, ensureKubernetes, type KubernetesBinaries, startControlPlane } from "@aibrix/devcluster";
import { stringify } from "yaml";
import { ROOT, run } from "./cli.ts";

const KUBECTL_MS = 60_000;

/** A real API server with our CRD and RBAC. Nothing acts on its objects by itself: a story does what a node would. */
export class Cluster implements AsyncDisposable {
  readonly #plane: ControlPlane;
  readonly #binaries: KubernetesBinaries;
  #applied = 0;

  private constructor(plane: ControlPlane, binaries: KubernetesBinaries) {
    this.#plane = plane;
    this.#binaries = binaries;
  }

  static async start(signal: AbortSignal): Promise<Cluster> {
    const binaries = await ensureKubernetes({ log: (line) => void process.stderr.write(`${line}\n`), signal });
    const cluster = new Cluster(await startControlPlane({ binaries }, signal), binaries);
    const files = ["namespace/namespace.yaml", "crd/model.aibrix.ai_modeladapters.yaml", "rbac/controller.yaml", "rbac/gateway.yaml"];
    for (const file of files) await cluster.kubectl("apply", "--server-side", "-f", join(ROOT, "deploy", file));
    await cluster.kubectl("wait", "--for=condition=Established", "crd/modeladapters.model.aibrix.ai", "--timeout=30s");
    return cluster;
  }

  /** Runs kubectl as an administrator, and fails where it does. @returns what it wrote */
  async kubectl(...args: string[]): Promise<string> {
    const { code, output } = await run(this.#binaries.kubectl, ["--kubeconfig", this.#plane.kubeconfig, ...args], KUBECTL_MS);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${output}`);
    return output;
  }

  async apply(object: unknown): Promise<void> {
    // Several may be applied at once.
    const file = join(this.#plane.dir, `object-${++this.#applied}.yaml`);
    writeFileSync(file, stringify(object));
    await this.kubectl("apply", "-f", file);
  }

  /** A kubeconfig file of a service account that we ship. */
  async kubeconfigOf(serviceAccount: string): Promise<string> {
    const token = (await this.kubectl("create", "token", serviceAccount, "-n", "aibrix-system", "--duration=1h")).trim();
    return await this.#plane.kubeconfigFor(serviceAccount, { token }, AbortSignal.timeout(KUBECTL_MS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#plane.stop();
  }
}

/** An IPv4 address of this machine that EndpointSlices may hold: they refuse loopback and link-local ones. */
export function routableAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find((a) => a.family === "IPv4" && !a.internal && !a.address.startsWith("169.254."))?.address;
}

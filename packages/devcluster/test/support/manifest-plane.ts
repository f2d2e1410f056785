import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type ControlPlane, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { parseAllDocuments } from "yaml";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

/** An object as a file has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

/** What of a Deployment the tests look at. */
export interface DeploymentManifest extends Manifest {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly initContainers?: readonly ContainerManifest[];
        readonly containers: readonly ContainerManifest[];
      };
    };
  };
}

interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
}

interface ContainerManifest {
  readonly name: string;
  readonly args?: readonly string[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly securityContext?: Readonly<Record<string, unknown>>;
}

/** The objects of a YAML text. */
export function manifestsOf(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((d) => d.toJS() as Manifest | null)
    .filter((m) => m !== null);
}

/** A real API server to which manifests are given, by its own kubectl. */
export class ManifestPlane implements AsyncDisposable {
  readonly #plane: ControlPlane;
  readonly #kubectlPath: string;

  private constructor(plane: ControlPlane, kubectlPath: string) {
    this.#plane = plane;
    this.#kubectlPath = kubectlPath;
  }

  static async start(): Promise<ManifestPlane> {
    const context = { log: console.log, signal: AbortSignal.timeout(3_600_000) };
    const binaries = await ensureKubernetes(context);
    return new ManifestPlane(await startControlPlane({ binaries }, context.signal), binaries.kubectl);
  }

  kubectl(args: readonly string[], input?: string): Promise<{ readonly status: number; readonly out: string }> {
    return new Promise((resolve, reject) => {
      const all = ["--kubeconfig", this.#plane.kubeconfig, ...args];
      const child = spawn(this.#kubectlPath, all, { cwd: ROOT, stdio: ["pipe", "pipe", "pipe"], timeout: 120_000 });
      let out = "";
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (out += text));
      child.on("error", reject);
      child.on("close", (code) => resolve({ status: code ?? -1, out }));
      child.stdin.end(input ?? "");
    });
  }

  /** Runs kubectl; anything but success is an error. */
  async do(...args: readonly string[]): Promise<string> {
    const { status, out } = await this.kubectl(args);
    if (status !== 0) throw new Error(`kubectl ${args.join(" ")}: ${out}`);
    return out;
  }

  /** Waits until every CRD is served. */
  async crdsServed(): Promise<void> {
    await this.do("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s");
  }

  /** What the API server says to an object; undefined where it would take it. */
  async refusal(object: unknown): Promise<string | undefined> {
    const args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    const { status, out } = await this.kubectl(args, JSON.stringify(object));
    return status === 0 ? undefined : out;
  }

  /** A kubeconfig file of a service account of aibrix-system. */
  async kubeconfigOf(serviceAccount: string): Promise<string> {
    const token = await this.do("create", "token", serviceAccount, "-n", "aibrix-system");
    return await this.#plane.kubeconfigFor(serviceAccount, { token: token.trim() }, AbortSignal.timeout(30_000));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#plane.stop();
  }
}

import { type ControlPlane, ensureKubernetes, startControlPlane } from "@aibrix/devcluster";
import { type Call, KubeClient, type Log, loadKubeConfig } from "@aibrix/kube";

/** A client that counts its calls. */
export interface CountingClient {
  readonly client: KubeClient;
  readonly calls: Call[];
  /** How many calls, as `get leases` or `list`. */
  readonly count: (verb: Call["verb"], resource?: string) => number;
}

/** A control plane for one test file, with clients that are closed with it. */
export class TestPlane implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly #clients: KubeClient[] = [];

  private constructor(plane: ControlPlane) {
    this.plane = plane;
  }

  static async start(): Promise<TestPlane> {
    const signal = AbortSignal.timeout(3_600_000);
    const binaries = await ensureKubernetes({ log: (line) => void process.stderr.write(`${line}\n`), signal });
    return new TestPlane(await startControlPlane({ binaries }, signal));
  }

  connect(kubeconfig: string = this.plane.kubeconfig): CountingClient {
    const calls: Call[] = [];
    const client = new KubeClient({
      config: loadKubeConfig({ file: kubeconfig }),
      userAgent: "kube-test",
      fieldManager: "kube-test",
      timeoutMs: 10_000,
      onCall: (call) => calls.push(call),
    });
    this.#clients.push(client);
    const count: CountingClient["count"] = (verb, resource) =>
      calls.filter((c) => c.verb === verb && (resource === undefined || c.resource === resource)).length;
    return { client, calls, count };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((c) => c.close()));
    await this.plane.stop();
  }
}

/** A log for tests that do not read it. */
export const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

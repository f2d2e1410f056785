import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { ModelAdapterStatus } from "@aibrix/api";
import { expect, inject, vi } from "vitest";
import { stringify } from "yaml";
import { ENGINE, ROOT } from "./cli.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The `stack.json` of the cluster that all stories share. */
    readonly stackFile: string;
  }
}

/** What the stories read of a cluster's `stack.json`. */
interface ClusterFile {
  readonly cluster: string;
  readonly gateway: string;
  readonly kubeconfig: string;
  readonly kubectl: string;
  readonly registry?: string;
}

const KUBECTL_MS = 120_000;
/** Longer than any wait that a printed command has of its own. */
const SHELL_MS = 330_000;
const MAX_OUTPUT = 64 * 1024 * 1024;
/** A pod of a real vLLM takes a minute until it is ready; one of the mock's Deployment waits for the seed's probes. */
export const READY_MS: number = ENGINE === "vllm" ? 600_000 : 120_000;

const EXPOSE = `unset ENDPOINT
LB_IP=$(kubectl get svc/envoy-aibrix-system-aibrix-eg-903790dc -n envoy-gateway-system -o=jsonpath='{.status.loadBalancer.ingress[0].ip}')
ENDPOINT="\${LB_IP}:80"
`;

/** A ModelAdapter as kubectl shows it. */
export interface AdapterObject {
  readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly generation: number };
  readonly status?: ModelAdapterStatus;
}

export interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly containers: readonly { readonly image: string }[] };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly name: string; readonly restartCount: number }[];
  };
}

/** The platform on the cluster that was started for all stories, as its user sees it: kubectl and the gateway. */
export class Platform {
  readonly gateway: string;
  readonly kubeconfig: string;
  /**
   * The documented commands that find out `ENDPOINT`, as they are printed; nothing where this machine does not reach the address that the
   * Gateway's Service has.
   */
  readonly expose: string;
  /** Whether the cluster's processes are this machine's, so that they can be counted and killed. */
  readonly hasProcesses: boolean;
  /** State folder of the cluster. */
  readonly dir: string;
  /** Where this machine pushes images for the cluster. */
  readonly registry: string | undefined;
  readonly #kubectl: string;
  /** Manifests that this story has applied, the last one first: it takes away these and nothing else. */
  readonly #applied: string[] = [];

  private constructor(dir: string, file: ClusterFile) {
    this.dir = dir;
    this.registry = file.registry;
    this.gateway = file.gateway;
    this.kubeconfig = file.kubeconfig;
    this.hasProcesses = file.cluster === "node";
    // A node of kind is a container, whose address only Linux itself reaches.
    this.expose = file.cluster === "node" || (file.cluster === "kind" && process.platform === "linux") ? EXPOSE : "";
    this.#kubectl = file.kubectl;
  }

  static get(): Platform {
    const file = inject("stackFile");
    return new Platform(dirname(file), JSON.parse(readFileSync(file, "utf8")) as ClusterFile);
  }

  /** `host:port` of the gateway, as the documented commands have it. */
  get endpoint(): string {
    return new URL(this.gateway).host;
  }

  /** Runs kubectl as an administrator, and fails where it does. @returns its standard output */
  async kubectl(...args: readonly string[]): Promise<string> {
    const options = { timeout: READY_MS + KUBECTL_MS, maxBuffer: MAX_OUTPUT, cwd: ROOT };
    const { stdout } = await promisify(execFile)(this.#kubectl, ["--kubeconfig", this.kubeconfig, ...args], options);
    return stdout;
  }

  /** What kubectl says when it refuses. */
  async refused(...args: readonly string[]): Promise<string> {
    try {
      await this.kubectl(...args);
    } catch (error) {
      return (error as { stderr?: string }).stderr ?? String(error);
    }
    throw new Error(`kubectl ${args.join(" ")} was expected to fail`);
  }

  /** What kubectl says, whether it fails or not. */
  async says(...args: readonly string[]): Promise<string> {
    try {
      return await this.kubectl(...args);
    } catch (error) {
      const { stdout, stderr } = error as { stdout?: string; stderr?: string };
      return `${stdout ?? ""}${stderr ?? String(error)}`;
    }
  }

  async json<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(...args, "-o", "json")) as T;
  }

  /** Applies files of the repository as they stand. */
  async apply(...files: readonly string[]): Promise<void> {
    for (const file of files) {
      this.#applied.unshift(await this.kubectl("create", "--dry-run=client", "-o", "yaml", "-f", join(ROOT, file)));
      await this.kubectl("apply", "-f", join(ROOT, file));
    }
  }

  async applyObjects(...objects: readonly unknown[]): Promise<void> {
    const text = objects.map((o) => stringify(o)).join("---\n");
    this.#applied.unshift(text);
    await this.#withFile(text, (file) => this.kubectl("apply", "-f", file));
  }

  /** What the API server says to an object that it refuses. */
  async refusal(object: unknown): Promise<string> {
    return await this.#withFile(stringify(object), (file) => this.refused("apply", "-f", file));
  }

  async #withFile<T>(text: string, use: (file: string) => Promise<T>): Promise<T> {
    const dir = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
    try {
      const file = join(dir, "objects.yaml");
      writeFileSync(file, text);
      return await use(file);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  /** Waits until all pods of a Deployment are ready. */
  async rolledOut(name: string, namespace = "default"): Promise<void> {
    await this.kubectl("rollout", "status", `deployment/${name}`, "-n", namespace, `--timeout=${READY_MS / 1000}s`);
  }

  async adapter(name: string): Promise<AdapterObject> {
    return await this.json<AdapterObject>("get", "modeladapter", name);
  }

  /** Waits for a condition of `kubectl wait`'s form, `Ready` or `Ready=False`. */
  async condition(name: string, condition = "Ready"): Promise<void> {
    try {
      await this.kubectl("wait", `--for=condition=${condition}`, `modeladapter/${name}`, `--timeout=${READY_MS / 1000}s`);
    } catch (error) {
      throw new Error(`${name} did not become ${condition}: ${JSON.stringify((await this.adapter(name)).status, null, 2)}`, {
        cause: error,
      });
    }
  }

  /** Waits until an adapter's Ready condition has a reason, and gives its message. */
  async reason(name: string, reason: string): Promise<string> {
    return await vi.waitFor(
      async () => {
        const { status } = await this.adapter(name);
        const ready = status?.conditions?.find((c) => c.type === "Ready");
        expect(ready, JSON.stringify(status)).toMatchObject({ status: "False", reason });
        return ready?.message ?? "";
      },
      { timeout: READY_MS, interval: 250 },
    );
  }

  /** Addresses that an adapter's Service has, sorted. */
  async addresses(name: string, namespace = "default"): Promise<readonly string[]> {
    const { items } = await this.json<{ items: readonly { endpoints?: readonly { addresses: readonly string[] }[] | null }[] }>(
      "get",
      "endpointslices",
      "-n",
      namespace,
      "-l",
      `kubernetes.io/service-name=${name}`,
    );
    return items.flatMap((slice) => (slice.endpoints ?? []).flatMap((e) => e.addresses)).sort();
  }

  /** Pods of a base model. */
  async pods(model: string): Promise<readonly PodObject[]> {
    return (await this.json<{ items: readonly PodObject[] }>("get", "pods", "-l", `model.aibrix.ai/name=${model}`)).items;
  }

  /** Asks a port of a pod through the API server, as an administrator can. */
  async podGet<T>(pod: string, port: number, path: string): Promise<T> {
    return JSON.parse(await this.kubectl("get", "--raw", `/api/v1/namespaces/default/pods/${pod}:${port}/proxy${path}`)) as T;
  }

  async podPost(pod: string, port: number, path: string, body: string): Promise<string> {
    return await this.#withFile(body, (file) =>
      this.kubectl("create", "--raw", `/api/v1/namespaces/default/pods/${pod}:${port}/proxy${path}`, "-f", file),
    );
  }

  /** Takes away what the story has applied, and waits until its pods are gone, so that the next one begins clean. */
  async clear(): Promise<void> {
    const wait = ["--ignore-not-found", "--wait", `--timeout=${KUBECTL_MS / 1000}s`];
    for (const text of this.#applied.splice(0)) await this.#withFile(text, (file) => this.kubectl("delete", "-f", file, ...wait));
    await this.kubectl("wait", "--for=delete", "pods", "-l", "model.aibrix.ai/name", `--timeout=${KUBECTL_MS / 1000}s`);
  }

  /** Runs a command of the documentation as it is printed, in a shell that knows `ENDPOINT`, `KUBECONFIG` and kubectl. @returns its standard output */
  async shell(script: string, cwd: string = ROOT): Promise<string> {
    const path = `${dirname(this.#kubectl)}:${process.env.PATH}`;
    const env = { ...process.env, PATH: path, KUBECONFIG: this.kubeconfig, ENDPOINT: this.endpoint };
    const child = spawn("bash", ["-ec", script], { cwd, stdio: ["ignore", "pipe", "pipe"], env, timeout: SHELL_MS });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    expect(code, stderr).toBe(0);
    return stdout;
  }
}

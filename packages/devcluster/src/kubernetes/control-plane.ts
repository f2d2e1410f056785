import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PartError } from "../parts/part-context.ts";
import { deadline, sleep } from "../stack/time.ts";
import { type ClientConfig, callApi } from "./api-client.ts";
import type { KubernetesBinaries } from "./binaries.ts";
import { apiserverArgs, etcdArgs } from "./command-lines.ts";
import { type GuardedProcess, GuardedProcesses } from "./guarded-processes.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { CertificateAuthority, writeKey } from "./pki.ts";
import { quietPorts } from "./quiet-ports.ts";

export interface ControlPlaneOptions {
  readonly binaries: KubernetesBinaries;
  /** Where data, keys and logs go, and stay. Without it a folder in the system's temporary one, removed at the end. */
  readonly dir?: string;
  /** More flags for kube-apiserver, each as one word: `--audit-policy-file=…`. Of two for one setting the last holds. */
  readonly apiserverArgs?: readonly string[];
  /** How long kube-apiserver may take to become ready, in milliseconds. 2 minutes where absent. */
  readonly readyMs?: number;
}

/** Who calls the API server: a certificate for a user, or a token. */
export type Caller = { readonly user: string; readonly groups?: readonly string[] } | { readonly token: string };

/** A real etcd and kube-apiserver, RBAC on, without controllers, scheduler and nodes: objects stay as they are written. */
export interface ControlPlane {
  readonly url: string;
  readonly dir: string;
  /** An administrator's kubeconfig file. */
  readonly kubeconfig: string;
  readonly admin: ClientConfig;
  /** A kubeconfig file for somebody else. */
  kubeconfigFor(name: string, caller: Caller, signal: AbortSignal): Promise<string>;
  /** Ends kube-apiserver with SIGKILL. etcd goes on. */
  killApiserver(): Promise<void>;
  /** Starts kube-apiserver again on its port, and waits until it is ready. */
  startApiserver(signal: AbortSignal): Promise<void>;
  /** {@link killApiserver} and {@link startApiserver}. */
  restartApiserver(signal: AbortSignal): Promise<void>;
  /** Ends everything and removes what it made. */
  stop(): Promise<void>;
}

/**
 * Starts a control plane on free ports of 127.0.0.1 and returns when it is ready, in some seconds. Several may run side by side.
 * It does not outlive this process, however that ends.
 * @throws PartError with the end of a program's log where it does not come up.
 */
export async function startControlPlane(options: ControlPlaneOptions, signal: AbortSignal): Promise<ControlPlane> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "aibrix-control-plane-")));
  const keep = options.dir !== undefined;
  const processes = new GuardedProcesses(dir, keep);
  try {
    const plane = new Plane(options, dir, keep, processes);
    await plane.start(signal);
    return plane;
  } catch (error) {
    await processes.stop(keep);
    throw error;
  }
}

/** Ports are chosen and then taken by another program; between the two somebody else may be quicker. */
const START_TRIES = 3;

class Plane implements ControlPlane {
  readonly dir: string;
  readonly kubeconfig: string;
  readonly #options: ControlPlaneOptions;
  readonly #keep: boolean;
  readonly #processes: GuardedProcesses;
  readonly #pki: string;
  #ca: CertificateAuthority | undefined;
  #ports: readonly [etcd: number, peer: number, apiserver: number] = [0, 0, 0];
  #admin: Omit<ClientConfig, "server"> = { ca: "", cert: "", key: "" };
  #apiserver: GuardedProcess | undefined;

  constructor(options: ControlPlaneOptions, dir: string, keep: boolean, processes: GuardedProcesses) {
    this.#options = options;
    this.dir = dir;
    this.#keep = keep;
    this.#processes = processes;
    this.#pki = join(dir, "pki");
    this.kubeconfig = join(dir, "admin.kubeconfig");
  }

  get url(): string {
    return `https://127.0.0.1:${this.#ports[2]}`;
  }

  get admin(): ClientConfig {
    return { server: this.url, ...this.#admin };
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#makePki(signal);
    for (let attempt = 1; ; attempt++) {
      this.#ports = await quietPorts();
      const etcd = this.#processes.start("etcd", [this.#options.binaries.etcd, ...etcdArgs(this.dir, this.#ports)]);
      try {
        await this.startApiserver(signal);
        break;
      } catch (error) {
        await Promise.all([this.#processes.kill(etcd), this.killApiserver()]);
        const logs = `${await this.#processes.tail("etcd")}\n${await this.#processes.tail("kube-apiserver")}`;
        if (attempt >= START_TRIES || !/address already in use/i.test(logs)) throw error;
      }
    }
    await writeKubeconfig(this.kubeconfig, { name: "test", ...this.admin });
  }

  async kubeconfigFor(name: string, caller: Caller, signal: AbortSignal): Promise<string> {
    const file = join(this.dir, `${name}.kubeconfig`);
    const { server, ca } = this.admin;
    if ("token" in caller) {
      await writeKubeconfig(file, { name: "test", server, ca, token: caller.token });
    } else if (this.#ca !== undefined) {
      const subject = { commonName: caller.user, organizations: caller.groups ?? [], usage: "clientAuth" } as const;
      const { cert, key } = await this.#ca.issue(`user-${name}`, subject, signal);
      await writeKubeconfig(file, { name: "test", server, ca, cert: await readFile(cert, "utf8"), key: await readFile(key, "utf8") });
    }
    return file;
  }

  async killApiserver(): Promise<void> {
    if (this.#apiserver !== undefined) await this.#processes.kill(this.#apiserver);
  }

  async startApiserver(signal: AbortSignal): Promise<void> {
    const { binaries, apiserverArgs: more = [], readyMs = 120_000 } = this.#options;
    const argv = [binaries.kubeApiserver, ...apiserverArgs(this.#pki, this.#ports), ...more] as const;
    const apiserver = this.#processes.start("kube-apiserver", argv);
    this.#apiserver = apiserver;
    const ready = deadline(readyMs, signal);
    // The namespace `default` comes a moment after readiness; tests want both.
    for (const path of ["/readyz", "/api/v1/namespaces/default"]) {
      while ((await this.#statusOf(path, ready)) !== 200) {
        signal.throwIfAborted();
        if (apiserver.hasEnded()) throw new PartError(`kube-apiserver ended by itself:\n${await this.#logs()}`);
        if (!(await sleep(50, ready)))
          throw new PartError(`kube-apiserver was not ready after ${readyMs / 1000} s:\n${await this.#logs()}`);
      }
    }
  }

  async restartApiserver(signal: AbortSignal): Promise<void> {
    await this.killApiserver();
    await this.startApiserver(signal);
  }

  async stop(): Promise<void> {
    await this.#processes.stop(this.#keep);
  }

  async #makePki(signal: AbortSignal): Promise<void> {
    await mkdir(this.#pki, { recursive: true });
    const ca = await CertificateAuthority.create(this.#pki, signal);
    this.#ca = ca;
    const altNames = ["DNS:localhost", "DNS:kubernetes.default.svc", "IP:127.0.0.1"];
    const [, admin] = await Promise.all([
      ca.issue("apiserver", { commonName: "kube-apiserver", usage: "serverAuth", altNames }, signal),
      ca.issue("admin", { commonName: "admin", organizations: ["system:masters"], usage: "clientAuth" }, signal),
      writeKey(join(this.#pki, "sa.key"), join(this.#pki, "sa.pub")),
    ]);
    const [caText, cert, key] = await Promise.all([ca.certFile, admin.cert, admin.key].map((f) => readFile(f, "utf8")));
    this.#admin = { ca: caText ?? "", cert: cert ?? "", key: key ?? "" };
  }

  async #statusOf(path: string, signal: AbortSignal): Promise<number> {
    const answer = await callApi(`${this.url}${path}`, this.#admin, signal).catch(() => undefined);
    return answer?.status ?? 0;
  }

  async #logs(): Promise<string> {
    return `etcd:\n${await this.#processes.tail("etcd", 5)}\nkube-apiserver:\n${await this.#processes.tail("kube-apiserver")}`;
  }
}

import { KubeClient, loadKubeConfig } from "@aibrix/kube";
import { createLogger, createRegistry } from "@aibrix/service";
import { ControllerManager, ControllerMetrics, readConfig, type Timing } from "../../src/index.ts";

/*
 * The controller as a process of its own that may be killed at any point: its API server and its pods are reached through the test, which
 * sees every call.
 */

/** What the process is given, as JSON, in its one argument. */
export interface ChildOptions {
  readonly kubeconfig: string;
  /** In place of the kubeconfig's server. Plain HTTP, on this machine alone. */
  readonly server: string;
  readonly pods: string;
  readonly flags: readonly string[];
  readonly timing: Timing;
}

const { kubeconfig, server, pods, flags, timing } = JSON.parse(process.argv[2] ?? "") as ChildOptions;
const config = readConfig([...flags, "--leader-elect-namespace=aibrix-system"], {});
if (config === undefined) throw new Error("no config");
const kubeConfig = loadKubeConfig({ file: kubeconfig });
kubeConfig.clusters = kubeConfig.clusters.map((c) => ({ ...c, server, skipTLSVerify: true }));
const names = { userAgent: "aibrix-controller-manager", fieldManager: "aibrix-controller-manager" };
const client = new KubeClient({ config: kubeConfig, ...names });
const metrics = new ControllerMetrics(createRegistry());
const log = createLogger("controller", process.env.TEST_LOG ?? "silent");
const connect = (ip: string, port: number) => `${pods}/${ip.replaceAll(":", "_")}/${port}`;
const stop = new AbortController();
process.on("disconnect", () => stop.abort());
await new ControllerManager(config, { client, metrics, log, connect, timing }).run(stop.signal);
await client.close();

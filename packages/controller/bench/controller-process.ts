import { ControllerManager, ControllerMetrics, readConfig } from "@aibrix/controller";
import { type Call, KubeClient, loadKubeConfig } from "@aibrix/kube";
import { createLogger, createRegistry } from "@aibrix/service";

/*
 * The controller as a process of its own, so that its memory is nobody else's: what main.ts does, with pods that are reached through one
 * local server, and with figures for whoever started it.
 */

/** What the process says of itself when it is asked by any message. */
export interface Figures {
  readonly ready: boolean;
  /** Without watches, by resource. */
  readonly calls: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  /** The most that it ever had. */
  readonly peakRssBytes: number;
  readonly cpuMs: number;
}

const [kubeconfig, podsUrl] = process.argv.slice(2);
const config = readConfig(["--enable-runtime-sidecar", "--leader-elect-namespace=aibrix-system"], {});
if (config === undefined || kubeconfig === undefined || podsUrl === undefined)
  throw new Error("usage: controller-process.ts KUBECONFIG PODS_URL");
const metrics = new ControllerMetrics(createRegistry());
let calls = 0;
const client = new KubeClient({
  config: loadKubeConfig({ file: kubeconfig }),
  userAgent: "aibrix-controller-manager",
  fieldManager: "aibrix-controller-manager",
  onCall: (call: Call) => {
    if (call.verb !== "watch") calls++;
    metrics.apiCall(call);
  },
});
const log = createLogger("controller", "error");
const manager = new ControllerManager(config, { client, metrics, log, connect: (ip, port) => `${podsUrl}/${ip}/${port}` });
const stop = new AbortController();
process.on("disconnect", () => stop.abort());
process.on("message", () => {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const figures: Figures = {
    ready: manager.notReady() === undefined,
    calls,
    rssBytes: rss,
    heapUsedBytes: heapUsed,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    cpuMs: (user + system) / 1000,
  };
  process.send?.(figures);
});
await manager.run(stop.signal);
await client.close();

import { ControllerManager, ControllerMetrics, readConfig, type Timing } from "@aibrix/controller";
import { type Call, type Done, KubeClient, loadKubeConfig } from "@aibrix/kube";
import { createLogger, createRegistry } from "@aibrix/service";

/*
 * The controller as a process of its own, so that its memory and its CPU time are nobody else's: what main.ts does, with pods that are
 * reached through one local server, and with figures for whoever started it.
 */

/** What the process is given, as JSON, in its one argument. */
export interface ProcessOptions {
  readonly kubeconfig: string;
  /** Where all pods are reached. */
  readonly pods: string;
  readonly flags: readonly string[];
  readonly timing: Timing;
}

/** What the process says of itself when it is asked by any message. Counts and times begin with the start. */
export interface Figures {
  readonly ready: boolean;
  /** Without watches. */
  readonly calls: number;
  /** The same by verb and resource. */
  readonly callsBy: Readonly<Record<string, number>>;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  /** The most that it ever had. */
  readonly peakRssBytes: number;
  readonly cpuMs: number;
  /** How long adapters waited for a worker and were worked on, in milliseconds, since the figures were last asked for. */
  readonly reconcileMs: readonly number[];
}

const { kubeconfig, pods, flags, timing } = JSON.parse(process.argv[2] ?? "") as ProcessOptions;
const config = readConfig([...flags, "--leader-elect-namespace=aibrix-system"], {});
if (config === undefined) throw new Error("no config");
let reconcileMs: number[] = [];
let calls = 0;
const callsBy: Record<string, number> = {};

class Metrics extends ControllerMetrics {
  override reconciled(controller: string, done: Done): void {
    if (controller === "modeladapter") reconcileMs.push(done.waitedMs + done.durationMs);
    super.reconciled(controller, done);
  }
}

const metrics = new Metrics(createRegistry());
const client = new KubeClient({
  config: loadKubeConfig({ file: kubeconfig }),
  userAgent: "aibrix-controller-manager",
  fieldManager: "aibrix-controller-manager",
  onCall: (call: Call) => {
    if (call.verb !== "watch") {
      const what = `${call.verb} ${call.resource}${call.subresource === undefined ? "" : `/${call.subresource}`}`;
      calls++;
      callsBy[what] = (callsBy[what] ?? 0) + 1;
    }
    metrics.apiCall(call);
  },
});
const log = createLogger("controller", process.env.BENCH_LOG ?? "error");
const manager = new ControllerManager(config, { client, metrics, log, timing, connect: (ip, port) => `${pods}/${ip}/${port}` });
const stop = new AbortController();
for (const event of ["disconnect", "SIGTERM"]) process.on(event, () => stop.abort());
process.on("message", () => {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const figures: Figures = {
    ready: manager.notReady() === undefined,
    calls,
    callsBy: { ...callsBy },
    rssBytes: rss,
    heapUsedBytes: heapUsed,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    cpuMs: (user + system) / 1000,
    reconcileMs,
  };
  reconcileMs = [];
  process.send?.(figures);
});
await manager.run(stop.signal);
await client.close();
process.exit(0);

#!/usr/bin/env -S node --max-semi-space-size=4 --heap-growing-percent=30
// The first line's flags collect garbage early: by itself Node lets it grow with the machine's memory.
import { CONTROLLER_MANAGER } from "@aibrix/api";
import { KubeClient, loadKubeConfig } from "@aibrix/kube";
import { ConfigError, createRegistry, Registry, runMain, sideServer } from "@aibrix/service";
import { readConfig, USAGE } from "./config.ts";
import { ControllerManager } from "./controller.ts";
import { ControllerMetrics } from "./metrics.ts";

await runMain(CONTROLLER_MANAGER, async (signal, log) => {
  const config = readConfig(process.argv.slice(2), process.env);
  if (config === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const registry = createRegistry();
  const metrics = new ControllerMetrics(registry);
  const client = new KubeClient({
    config: kubeConfig(config.kubeconfig),
    userAgent: CONTROLLER_MANAGER,
    fieldManager: CONTROLLER_MANAGER,
    onCall: (call) => metrics.apiCall(call),
  });
  const manager = new ControllerManager(config, { client, metrics, log });
  const notReady = () => manager.notReady();
  const notAlive = () => manager.notAlive();
  const health = sideServer({ metrics: new Registry(), notReady, notAlive });
  const shown = sideServer({ metrics: registry, notReady, notAlive });
  if (config.health !== undefined) await health.listen(config.health);
  if (config.metrics !== undefined) await shown.listen(config.metrics);
  log.info({ identity: config.identity, namespace: config.namespace ?? "all", runtimeSidecar: config.runtimeSidecar }, "starts");
  try {
    await manager.run(signal);
  } finally {
    await Promise.all([health.close(), shown.close(), client.close()]);
  }
});

function kubeConfig(file: string | undefined): ReturnType<typeof loadKubeConfig> {
  try {
    return loadKubeConfig({ file });
  } catch (error) {
    throw new ConfigError(`the cluster cannot be reached: ${(error as Error).message}`);
  }
}

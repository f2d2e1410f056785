import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { ADAPTER_SLICES, ENGINES_SERVICE, ENGINES_SLICES, SYSTEM_NAMESPACE } from "@aibrix/api";
import { type Change, ENDPOINT_SLICES, KubeClient, type KubeObject, loadKubeConfig, PODS, Reflector } from "@aibrix/kube";
import { ConfigError, type Logger } from "@aibrix/service";
import type { RoutingSource } from "../routing/source.ts";
import type { DeclarationSink, RoutingSink } from "../routing/types.ts";
import { adapterFacts, enginesSliceFacts, podFacts, sliceFacts } from "./facts.ts";
import { MODEL_ADAPTERS, POD_SELECTOR, trimAdapter, trimPod, trimSlice } from "./objects.ts";
import { ClusterTranslator } from "./translator.ts";

/** Which cluster, and what of it. */
export interface ClusterOptions {
  /** A kubeconfig file. Without it: `KUBECONFIG`, the pod's service account, `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  /** Only this namespace; all where absent. */
  readonly namespace: string | undefined;
}

const PROGRAM = "aibrix-gateway-plugins";

/**
 * Routes from a cluster: its pods, EndpointSlices and ModelAdapters. Where the API server goes away, what was seen last stays in force.
 *
 * @param onProgress - called whenever `notReady` may have changed
 * @throws {@link ConfigError} where nothing says how to reach a cluster
 */
export function kubernetesSource(
  options: ClusterOptions,
  sink: RoutingSink & DeclarationSink,
  log: Logger,
  onProgress: () => void,
): RoutingSource {
  const client = new KubeClient({ config: kubeConfig(options.kubeconfig), userAgent: PROGRAM, fieldManager: PROGRAM });
  const common = { client, namespace: options.namespace, log };
  const pods = new Reflector({ ...common, resource: PODS, labelSelector: POD_SELECTOR, transform: trimPod });
  const slices = new Reflector({ ...common, resource: ENDPOINT_SLICES, labelSelector: ADAPTER_SLICES, transform: trimSlice });
  const engines = new Reflector({
    ...common,
    // Where the controller writes them, which is the namespace of both programs.
    namespace: process.env.POD_NAMESPACE || SYSTEM_NAMESPACE,
    resource: ENDPOINT_SLICES,
    labelSelector: ENGINES_SLICES,
    transform: trimSlice,
  });
  const adapters = new Reflector({ ...common, resource: MODEL_ADAPTERS, transform: trimAdapter });
  const routes = new ClusterTranslator(sink);
  pods.store.onChange(follow(podFacts, (key, facts) => routes.pod(key, facts)));
  slices.store.onChange(follow(sliceFacts, (key, facts) => routes.slice(key, facts)));
  engines.store.onChange(follow(enginesSliceFacts, (key, entries) => routes.enginesSlice(key, entries)));
  adapters.store.onChange(follow(adapterFacts, (key, facts) => routes.adapter(key, facts)));

  const all = { pods, EndpointSlices: slices, ModelAdapters: adapters, [`EndpointSlices of ${ENGINES_SERVICE}`]: engines };
  const missing = (): string[] => Object.entries(all).flatMap(([name, { hasSynced }]) => (hasSynced ? [] : [name]));
  return {
    notReady: () => {
      const names = missing();
      if (names.length === 0) return undefined;
      return `waiting for the first list of ${names.join(", ")}: is the API server reachable, and are the CRD and the RBAC applied?`;
    },
    run: async (signal) => {
      log.info({ namespace: options.namespace ?? "all" }, "follows a cluster");
      const running = Object.values(all).map((reflector) => reflector.run(signal));
      const synced = Object.values(all).map(async (reflector) => {
        await reflector.synced(signal);
        onProgress();
      });
      // What rejects here is the signal.
      await Promise.allSettled(synced);
      if (!signal.aborted) log.info({ pods: pods.store.size, adapters: adapters.store.size }, "has seen the cluster");
      await Promise.all(running);
      await client.close();
    },
  };
}

function follow<T extends KubeObject, F>(read: (object: T) => F | undefined, take: (key: string, facts: F | undefined) => void) {
  return ({ key, object }: Change<T>): void => take(key, object && read(object));
}

function kubeConfig(file: string | undefined): ReturnType<typeof loadKubeConfig> {
  const { KUBECONFIG, KUBERNETES_SERVICE_HOST } = process.env;
  // The library would take http://localhost:8080 then, which is nobody's cluster any more.
  if (file === undefined && !KUBECONFIG && !KUBERNETES_SERVICE_HOST && !existsSync(join(homedir(), ".kube", "config"))) {
    throw new ConfigError(
      "neither an endpoints file nor a cluster: give --endpoints-config=FILE, which lists engines, or --kubeconfig=FILE.\nRun with --help to see every flag.",
    );
  }
  try {
    return loadKubeConfig({ file });
  } catch (error) {
    throw new ConfigError(`the cluster cannot be reached: ${(error as Error).message}`);
  }
}

import { isAbsolute } from "node:path";
import { ENGINES_SERVICE, ENGINES_SLICES, SYSTEM_NAMESPACE } from "@aibrix/api";
import { ENDPOINT_SLICES, KubeClient, loadKubeConfig } from "@aibrix/kube";
import { ConfigError, type Flag, helpText, Registry, readBindAddress, readFlags, sideServer } from "@aibrix/service";
import type { Command } from "../command.ts";
import { followSlices } from "./follow.ts";

const FLAGS = {
  file: { type: "string", value: "FILE", help: "The file to keep, an absolute path in a folder that Envoy watches." },
  namespace: {
    type: "string",
    value: "NAMESPACE",
    help: `Namespace of the Service ${ENGINES_SERVICE}. Default: POD_NAMESPACE, or ${SYSTEM_NAMESPACE}.`,
  },
  kubeconfig: {
    type: "string",
    value: "FILE",
    help: "How to reach the cluster. Default: KUBECONFIG, the pod's service account, ~/.kube/config.",
  },
  "health-probe-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: ":8082",
    help: "Where /healthz and /readyz answer; ready once the file says what the cluster says. 0 for nowhere.",
  },
} as const satisfies Record<string, Flag>;

const USAGE = `Usage: aibrix_dev_services envoy-endpoints --file=FILE [flags]

Writes the ready endpoints of the Service ${ENGINES_SERVICE} to a file that Envoy follows: the engines that it may connect to.`;

const PROGRAM = "aibrix-envoy-endpoints";

/** Tells an Envoy without a control plane which engines a cluster has. */
export const ENVOY_ENDPOINTS: Command = {
  help: helpText(USAGE, FLAGS),
  run: async (argv, signal, log) => {
    const flags = readFlags(FLAGS, argv);
    if (flags === undefined) return false;
    const { file = "" } = flags;
    if (!isAbsolute(file)) throw new ConfigError(`--file=${file}: write an absolute path such as /endpoints/engines.json`);
    const namespace = flags.namespace || process.env.POD_NAMESPACE || SYSTEM_NAMESPACE;
    const address = readBindAddress("health-probe-bind-address", flags["health-probe-bind-address"]);
    let notReady: string | undefined = `waiting for the first list of EndpointSlices in ${namespace}: may the service account list them?`;
    const client = new KubeClient({ config: kubeConfig(flags.kubeconfig || undefined), userAgent: PROGRAM, fieldManager: PROGRAM });
    const health = sideServer({ metrics: new Registry(), notReady: () => notReady });
    if (address !== undefined) await health.listen(address);
    try {
      const slices = { client, log, namespace, resource: ENDPOINT_SLICES, labelSelector: ENGINES_SLICES };
      const onWritten = (addresses: readonly unknown[]): void => {
        notReady = undefined;
        log.info({ file, engines: addresses.length }, "wrote the engines");
      };
      await followSlices({ slices, file, onWritten }, signal);
    } finally {
      await Promise.all([health.close(), client.close()]);
    }
    return true;
  },
};

function kubeConfig(file: string | undefined): ReturnType<typeof loadKubeConfig> {
  try {
    return loadKubeConfig({ file });
  } catch (error) {
    throw new ConfigError(`the cluster cannot be reached: ${(error as Error).message}`);
  }
}

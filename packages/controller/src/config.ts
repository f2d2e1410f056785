import { hostname } from "node:os";
import { SYSTEM_NAMESPACE } from "@aibrix/api";
import { ConfigError, type Flag, helpText, readBindAddress, readFlags } from "@aibrix/service";
import type { GatewayName } from "./routes/http-route.ts";

/** The Gateway that is installed with the controller. */
const DEFAULT_GATEWAY = "aibrix-eg";

export const FLAGS = {
  "leader-elect": { type: "boolean", help: "Elect a leader, so that two replicas can run. Without it this process always acts." },
  "leader-elect-namespace": {
    type: "string",
    value: "NAMESPACE",
    help: "Namespace of the Lease and of the Service aibrix-engines. Default: POD_NAMESPACE, or aibrix-system.",
  },
  "health-probe-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: ":8081",
    help: "Where /healthz and /readyz answer; 0 for nowhere.",
  },
  "metrics-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: "0",
    help: "Where /metrics answers, :8080 for example; 0 for nowhere.",
  },
  "enable-runtime-sidecar": {
    type: "boolean",
    help: "Load adapters through the sidecar aibrix-runtime of pods that have one. Without it engines are called directly.",
  },
  "runtime-token-file": {
    type: "string",
    value: "FILE",
    help: "File with the token that sidecars want for load and unload (their --token-file). Default: none is sent.",
  },
  "enable-httproutes": {
    type: "boolean",
    help: "Write an HTTPRoute for every ModelAdapter, for gateways without our plugin that set the header X-Gateway-Model-Name.",
  },
  "httproute-gateway": {
    type: "string",
    value: "NAMESPACE/NAME",
    help: "The Gateway that HTTPRoutes are attached to. Default: aibrix-eg in the namespace of --leader-elect-namespace.",
  },
  namespace: { type: "string", value: "NAMESPACE", help: "Only look at this namespace. Default: all." },
  kubeconfig: {
    type: "string",
    value: "FILE",
    help: "How to reach the cluster. Default: KUBECONFIG, the pod's service account, ~/.kube/config.",
  },
  probe: {
    type: "string",
    value: "auto|off",
    default: "auto",
    help: "auto: after a first load an engine has to answer a request of one token under the adapter's name before the pod counts as serving. off: it has to list it.",
  },
  "drain-grace-period": {
    type: "string",
    value: "TIME",
    default: "30s",
    help: "How long requests that run or wait may go on before an adapter is unloaded; 0s for not at all. Nothing holds a deletion up for longer (5 s at least): its requests have all of it but the last 5 s.",
  },
  "gateway-metrics-service": {
    type: "string",
    value: "NAME[:PORT]",
    default: "aibrix-gateway-plugins:8080",
    help: "Service whose pods, in the namespace of --leader-elect-namespace, are the gateways: their metrics on this port are read while a canary with thresholds (spec.rollout.canary.abortOn) goes on.",
  },
  workers: { type: "string", value: "N", default: "16", help: "How many ModelAdapters are worked on at a time." },
} as const satisfies Record<string, Flag>;

export const USAGE: string = helpText(
  "Usage: aibrix_controller_manager [flags]\n\nKeeps every ModelAdapter's pods, Service, EndpointSlices and status true.",
  FLAGS,
);

type Address = ReturnType<typeof readBindAddress>;

/** Settings of the program. */
export interface Config {
  readonly leaderElect: boolean;
  readonly systemNamespace: string;
  /** Unique per process. */
  readonly identity: string;
  readonly health: Address;
  readonly metrics: Address;
  readonly runtimeSidecar: boolean;
  readonly runtimeTokenFile: string | undefined;
  /** The Gateway of the HTTPRoutes; `undefined` where none are wanted. */
  readonly httpRouteGateway: GatewayName | undefined;
  readonly namespace: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly workers: number;
  readonly probe: "auto" | "off";
  /** How long requests may go on before an unload, in milliseconds. */
  readonly drainGraceMs: number;
  /** Service of the gateways, and the port of their metrics. */
  readonly gatewayMetrics: { readonly name: string; readonly port: number };
}

/**
 * Reads the settings, once, at the start.
 *
 * @returns `undefined` where `--help` was asked for
 * @throws ConfigError that says what to write
 */
export function readConfig(argv: readonly string[], env: NodeJS.ProcessEnv): Config | undefined {
  const flags = readFlags(FLAGS, argv);
  if (flags === undefined) return undefined;
  const workers = Number(flags.workers);
  if (!Number.isInteger(workers) || workers < 1 || workers > 1000)
    throw new ConfigError(`--workers=${flags.workers}: write a number from 1 to 1000`);
  const systemNamespace = flags["leader-elect-namespace"] || env.POD_NAMESPACE || SYSTEM_NAMESPACE;
  const probe = (["auto", "off"] as const).find((value) => value === flags.probe);
  if (probe === undefined) throw new ConfigError(`--probe=${flags.probe}: write auto or off`);
  const gateway = readGateway(flags["httproute-gateway"] || `${systemNamespace}/${DEFAULT_GATEWAY}`);
  if (flags["httproute-gateway"] && !flags["enable-httproutes"])
    throw new ConfigError("--httproute-gateway has no effect without --enable-httproutes: set both, or none");
  return {
    leaderElect: flags["leader-elect"],
    systemNamespace,
    identity: `${env.POD_NAME || hostname()}_${process.pid}_${Math.random().toString(36).slice(2, 8)}`,
    health: readBindAddress("health-probe-bind-address", flags["health-probe-bind-address"]),
    metrics: readBindAddress("metrics-bind-address", flags["metrics-bind-address"]),
    runtimeSidecar: flags["enable-runtime-sidecar"],
    runtimeTokenFile: flags["runtime-token-file"] || undefined,
    httpRouteGateway: flags["enable-httproutes"] ? gateway : undefined,
    namespace: flags.namespace || undefined,
    kubeconfig: flags.kubeconfig || undefined,
    workers,
    probe,
    drainGraceMs: readGraceMs(flags["drain-grace-period"]),
    gatewayMetrics: readService(flags["gateway-metrics-service"]),
  };
}

/** The longest that a sidecar takes. */
const MAX_GRACE_MS = 3_600_000;

function readGraceMs(text: string): number {
  const [, number, unit] = /^(\d{1,6})(s|m)$/.exec(text) ?? [];
  const ms = Number(number) * (unit === "m" ? 60_000 : 1_000);
  if (number === undefined || ms > MAX_GRACE_MS)
    throw new ConfigError(`--drain-grace-period=${text}: write a time in seconds or minutes, 30s or 5m for example, at most 60m`);
  return ms;
}

const GATEWAY_METRICS_PORT = 8080;

function readService(text: string): { name: string; port: number } {
  const [, name] = /^([a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)(?::\d{1,5})?$/.exec(text) ?? [];
  const port = text.includes(":") ? Number(text.slice(text.indexOf(":") + 1)) : GATEWAY_METRICS_PORT;
  if (name === undefined || port < 1 || port > 65_535)
    throw new ConfigError(
      `--gateway-metrics-service=${text}: write the name of a Service and a port, aibrix-gateway-plugins:8080 for example`,
    );
  return { name, port };
}

function readGateway(text: string): GatewayName {
  const [namespace, name, ...more] = text.split("/");
  if (!namespace || !name || more.length > 0) throw new ConfigError(`--httproute-gateway=${text}: write NAMESPACE/NAME of a Gateway`);
  return { namespace, name };
}

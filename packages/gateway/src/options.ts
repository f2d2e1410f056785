import { ConfigError, type Flag, helpText, readBindAddress, readFlags } from "@aibrix/service";
import {
  DEFAULT_TLS_TRANSPORT,
  DEFAULT_TRANSPORT,
  type GrpcOptions,
  TLS_TRANSPORTS,
  TRANSPORTS,
  type TransportName,
} from "./grpc/server.ts";
import type { TlsFiles } from "./grpc/transport.ts";
import { readTracing, type TracingSettings } from "./tracing/settings.ts";

const TRANSPORT_NAMES = Object.keys(TRANSPORTS) as TransportName[];

const FLAGS = {
  "grpc-bind-address": { type: "string", value: "ADDRESS", default: ":50052", help: "Where Envoy's ext_proc filter calls." },
  "grpc-transport": {
    type: "string",
    value: "NAME",
    help: `Which server Envoy calls: ${TRANSPORT_NAMES.join(", ")}. Default: ${DEFAULT_TRANSPORT}, with TLS ${DEFAULT_TLS_TRANSPORT}.`,
  },
  "grpc-tls-cert-file": {
    type: "string",
    value: "FILE",
    help: "Serve Envoy over TLS with this certificate (PEM); it is read again when it changes.",
  },
  "grpc-tls-key-file": { type: "string", value: "FILE", help: "The key of that certificate (PEM)." },
  "grpc-tls-client-ca-file": { type: "string", value: "FILE", help: "Take only clients with a certificate of these authorities (PEM)." },
  "metrics-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: ":8080",
    help: "Where /healthz, /readyz and /metrics are; 0 switches them off.",
  },
  "update-hold": {
    type: "string",
    value: "TIME",
    default: "30s",
    help: "How long a request may wait while the one engine that serves its adapter swaps its content, such as 10s; 0s lets none wait. Envoy's message_timeout must be longer.",
  },
  "envoy-message-timeout": {
    type: "string",
    value: "TIME",
    default: "45s",
    help: "How long Envoy waits for the plugin: its ext_proc message_timeout, which is messageTimeout in Envoy Gateway's EnvoyExtensionPolicy. --update-hold has to end a second before.",
  },
  "metrics-max-models": {
    type: "string",
    value: "N",
    default: "1000",
    help: "Models that have counts of their own; those asked for later count together.",
  },
  "access-log": { type: "boolean", help: "Write a line for each request. Envoy has an access log of its own, which knows the answer too." },
  "endpoints-config": { type: "string", value: "FILE", help: "YAML file that lists the engines; it is read again when it changes." },
  kubernetes: { type: "boolean", help: "Follow a cluster. This is so without --endpoints-config." },
  kubeconfig: {
    type: "string",
    value: "FILE",
    help: "How to reach the cluster. Default: KUBECONFIG, the pod's service account, ~/.kube/config.",
  },
  namespace: { type: "string", value: "NAMESPACE", help: "Only look at this namespace of the cluster. Default: all." },
} as const satisfies Record<string, Flag>;

const USAGE = `aibrix_gateway_plugins [--kubeconfig=FILE] [--namespace=NAMESPACE]
aibrix_gateway_plugins --endpoints-config=FILE

Envoy's ext_proc service: reads the model of a request, and names the engines that serve it. Which ones do, it learns from a cluster
(pods, EndpointSlices, ModelAdapters), or without one from an endpoints file.

The endpoints file:
  engines:
  - engine: http://127.0.0.1:8000     what Envoy connects to
    runtime: http://127.0.0.1:8080    the runtime beside it; without it the engine is asked every 2 seconds
    models: [NAME]                    base models, where the engine cannot be asked for them
    apiKeyFile: PATH                  the engine's key for asking it, where there is no runtime

OpenTelemetry traces are sent where OTEL_EXPORTER_OTLP_ENDPOINT names a collector (OTLP over HTTP); OTEL_TRACES_SAMPLER_ARG is the share.`;

/** Where the program learns who serves what. */
export type SourceOptions =
  | { readonly kind: "file"; readonly file: string }
  | { readonly kind: "kubernetes"; readonly kubeconfig: string | undefined; readonly namespace: string | undefined };

/** What the program was told on its command line. */
export interface Options {
  readonly grpc: GrpcOptions;
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly maxModels: number;
  readonly updateHoldMs: number;
  readonly accessLog: boolean;
  readonly tracing: TracingSettings | undefined;
  readonly source: SourceOptions;
}

/**
 * Reads the command line.
 *
 * @returns the options, or the help where it was asked for
 * @throws {@link ConfigError}
 */
export function readOptions(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Options | { readonly help: string } {
  const flags = readFlags(FLAGS, argv);
  if (flags === undefined) return { help: helpText(USAGE, FLAGS) };
  const grpc = readBindAddress("grpc-bind-address", flags["grpc-bind-address"]);
  if (grpc === undefined) throw new ConfigError("--grpc-bind-address: 0 would leave nothing to serve; write an address such as :50052");
  const { kubernetes, kubeconfig, namespace } = flags;
  return {
    grpc: { ...grpc, ...readTransport(flags) },
    metrics: readBindAddress("metrics-bind-address", flags["metrics-bind-address"]),
    updateHoldMs: readHoldMs(flags["update-hold"], flags["envoy-message-timeout"]),
    maxModels: readMaxModels(flags["metrics-max-models"]),
    accessLog: flags["access-log"],
    tracing: readTracing(env),
    source: readSource(flags["endpoints-config"], { kubernetes, kubeconfig, namespace }),
  };
}

type TransportFlags = Readonly<
  Record<"grpc-transport" | "grpc-tls-cert-file" | "grpc-tls-key-file" | "grpc-tls-client-ca-file", string | undefined>
>;

function readTransport(flags: TransportFlags): Pick<GrpcOptions, "transport" | "tls"> {
  const tls = readTlsFiles(flags);
  const given = flags["grpc-transport"] || (tls === undefined ? DEFAULT_TRANSPORT : DEFAULT_TLS_TRANSPORT);
  const transport = TRANSPORT_NAMES.find((name) => name === given);
  if (transport === undefined) throw new ConfigError(`--grpc-transport=${given}: write ${TRANSPORT_NAMES.join(", ")}`);
  if (tls !== undefined && !TLS_TRANSPORTS.includes(transport)) {
    throw new ConfigError(`--grpc-transport=${transport} serves no TLS: write ${TLS_TRANSPORTS.join(" or ")}, or leave it out`);
  }
  return { transport, tls };
}

function readTlsFiles(flags: TransportFlags): TlsFiles | undefined {
  const certFile = flags["grpc-tls-cert-file"] || undefined;
  const keyFile = flags["grpc-tls-key-file"] || undefined;
  const clientCaFile = flags["grpc-tls-client-ca-file"] || undefined;
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, clientCaFile };
  if (certFile === undefined && keyFile === undefined && clientCaFile === undefined) return undefined;
  throw new ConfigError("--grpc-tls-cert-file and --grpc-tls-key-file: TLS needs both");
}

function readMaxModels(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new ConfigError(`--metrics-max-models=${text}: write a number from 0 to 999999`);
  return Number(text);
}

const MAX_MESSAGE_TIMEOUT_S = 600;

/** What a hold leaves of Envoy's patience for everything else, such as a last look-up, in seconds. */
const HOLD_MARGIN_S = 1;

function readHoldMs(text: string, timeoutText: string): number {
  const holdS = secondsOf(text);
  if (holdS === undefined)
    throw new ConfigError(`--update-hold=${text}: write a time in seconds or minutes, such as 30s or 1m; 0s lets no request wait`);
  const timeoutS = secondsOf(timeoutText);
  if (timeoutS === undefined || timeoutS < HOLD_MARGIN_S || timeoutS > MAX_MESSAGE_TIMEOUT_S)
    throw new ConfigError(
      `--envoy-message-timeout=${timeoutText}: write Envoy's ext_proc message_timeout, from 1s to 10m, such as 45s, the one of deploy/envoy-gateway`,
    );
  const mostS = timeoutS - HOLD_MARGIN_S;
  if (holdS > mostS)
    throw new ConfigError(
      `--update-hold=${text}: Envoy waits for the plugin no longer than ${timeoutText} (--envoy-message-timeout), and would fail what is held: write at most ${mostS}s, or set ext_proc's message_timeout in Envoy (messageTimeout in Envoy Gateway's EnvoyExtensionPolicy) to ${holdS + HOLD_MARGIN_S}s or more, its stream_idle_timeout above that, and --envoy-message-timeout to the same`,
    );
  return holdS * 1_000;
}

/** Reads a time in whole seconds or minutes. */
function secondsOf(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,3})(s|m)$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * (unit === "m" ? 60 : 1);
}

interface ClusterFlags {
  readonly kubernetes: boolean;
  readonly kubeconfig: string | undefined;
  readonly namespace: string | undefined;
}

function readSource(file: string | undefined, cluster: ClusterFlags): SourceOptions {
  const { kubeconfig, namespace } = cluster;
  if (file === undefined) return { kind: "kubernetes", kubeconfig: kubeconfig || undefined, namespace: namespace || undefined };
  if (file === "")
    throw new ConfigError("--endpoints-config is empty: name a YAML file that lists the engines, or leave it out to follow a cluster");
  const also = Object.entries(cluster).flatMap(([name, value]) => (value === undefined || value === false ? [] : [`--${name}`]));
  if (also.length > 0)
    throw new ConfigError(`--endpoints-config and ${also.join(", ")}: engines come from a file or from a cluster; leave one out`);
  return { kind: "file", file };
}

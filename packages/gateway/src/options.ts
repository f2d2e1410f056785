import { ConfigError, type Flag, helpText, readBindAddress, readFlags } from "@aibrix/service";

const FLAGS = {
  "grpc-bind-address": { type: "string", value: "ADDRESS", default: ":50052", help: "Where Envoy's ext_proc filter calls." },
  "metrics-bind-address": {
    type: "string",
    value: "ADDRESS",
    default: ":8080",
    help: "Where /healthz, /readyz and /metrics are; 0 switches them off.",
  },
  "endpoints-config": { type: "string", value: "FILE", help: "YAML file that lists the engines; it is read again when it changes." },
} as const satisfies Record<string, Flag>;

const USAGE = `aibrix_gateway_plugins --endpoints-config=FILE

Envoy's ext_proc service: reads the model of a request, and names the engines that serve it.

The endpoints file:
  engines:
  - engine: http://127.0.0.1:8000     what Envoy connects to
    runtime: http://127.0.0.1:8080    the runtime beside it; without it the engine is asked every 2 seconds
    models: [NAME]                    base models, where the engine cannot be asked for them
    apiKeyFile: PATH                  the engine's key for asking it, where there is no runtime`;

/** What the program was told on its command line. */
export interface Options {
  readonly grpc: { readonly host: string; readonly port: number };
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly endpointsConfig: string;
}

/**
 * Reads the command line.
 *
 * @returns the options, or the help where it was asked for
 * @throws {@link ConfigError}
 */
export function readOptions(argv: readonly string[]): Options | { readonly help: string } {
  const flags = readFlags(FLAGS, argv);
  if (flags === undefined) return { help: helpText(USAGE, FLAGS) };
  const grpc = readBindAddress("grpc-bind-address", flags["grpc-bind-address"]);
  if (grpc === undefined) throw new ConfigError("--grpc-bind-address: 0 would leave nothing to serve; write an address such as :50052");
  const endpointsConfig = flags["endpoints-config"];
  if (endpointsConfig === undefined || endpointsConfig === "") {
    throw new ConfigError("--endpoints-config is missing: name a YAML file that lists the engines.\nRun with --help to see its form.");
  }
  return { grpc, metrics: readBindAddress("metrics-bind-address", flags["metrics-bind-address"]), endpointsConfig };
}

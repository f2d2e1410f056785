import { ConfigError } from "@aibrix/service";

/** Where spans go, and how many. */
export interface TracingSettings {
  /** Of the traces that begin here, the share that is kept; of others their own word counts. */
  readonly ratio: number;
}

/**
 * Reads OpenTelemetry's standard variables. Tracing is on where one of them names an endpoint; that, headers and time limits are read by
 * the exporter itself.
 *
 * @returns `undefined` where tracing is off
 * @throws {@link ConfigError}
 */
export function readTracing(env: NodeJS.ProcessEnv): TracingSettings | undefined {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!endpoint || env.OTEL_SDK_DISABLED === "true" || env.OTEL_TRACES_EXPORTER === "none") return undefined;
  if (!URL.canParse(endpoint)) throw new ConfigError("OTEL_EXPORTER_OTLP_ENDPOINT: write a URL such as http://collector:4318");
  const ratio = Number(env.OTEL_TRACES_SAMPLER_ARG || 1);
  if (!(ratio >= 0 && ratio <= 1)) throw new ConfigError("OTEL_TRACES_SAMPLER_ARG: write a share from 0 to 1");
  return { ratio };
}

import { dirname, resolve } from "node:path";
import { ConfigError } from "@aibrix/service";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { parseDocument } from "yaml";

const EndpointSchema = Type.Object(
  {
    engine: Type.String({ description: "Address of the engine, as Envoy connects to it: http://HOST:PORT." }),
    runtime: Type.Optional(
      Type.String({
        description:
          "Address of the runtime beside the engine: http://HOST:PORT. Its stream says what the engine serves; without it the engine's own list is read every 2 seconds.",
      }),
    ),
    models: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        description: "Names of base models, where the engine cannot be asked for them (it wants an API key that nobody here has).",
      }),
    ),
    apiKeyFile: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          "File that holds the engine's API key, for reading its list; relative to this file. Only without a runtime, which has the key itself.",
      }),
    ),
  },
  { additionalProperties: false },
);

/** The file of `--endpoints-config`. */
export const EndpointsConfigSchema = Type.Object({ engines: Type.Array(EndpointSchema) }, { additionalProperties: false });

/** One engine to route to. */
export interface Endpoint {
  /** `http://host:port`, also the key of the engine. */
  readonly engine: string;
  readonly host: string;
  readonly port: number;
  /** `http://host:port` */
  readonly runtime?: string;
  readonly models: readonly string[];
  /** Absolute path. */
  readonly apiKeyFile?: string;
}

/**
 * Reads the text of an endpoints file.
 *
 * @param file - its path, for messages and as the base of relative paths
 * @throws {@link ConfigError} that names every field that cannot be used, and what to write
 */
export function parseEndpoints(text: string, file: string): readonly Endpoint[] {
  const document = parseDocument(text);
  const [broken] = document.errors;
  if (broken !== undefined) throw new ConfigError(`${file}: not valid YAML: ${broken.message}`);
  const value: unknown = document.toJS();
  const problems = Value.Check(EndpointsConfigSchema, value) ? [] : shapeProblems(value);
  if (problems.length > 0) throw new ConfigError(problems.map((p) => `${file}: ${p}`).join("\n"));

  const { engines } = value as Static<typeof EndpointsConfigSchema>;
  const endpoints = engines.map((entry, i) => endpointOf(entry, `engines[${i}]`, file, problems));
  const seen = new Map<string, number>();
  for (const [i, endpoint] of endpoints.entries()) {
    const first = endpoint === undefined ? undefined : seen.get(endpoint.engine);
    if (first !== undefined) problems.push(`engines[${i}].engine: the same as engines[${first}].engine: list each engine once`);
    else if (endpoint !== undefined) seen.set(endpoint.engine, i);
  }
  if (problems.length > 0) throw new ConfigError(problems.map((p) => `${file}: ${p}`).join("\n"));
  return endpoints.filter((e) => e !== undefined);
}

function shapeProblems(value: unknown): string[] {
  const list = [...Value.Errors(EndpointsConfigSchema, value)].map((e) => {
    const path = e.instancePath
      .slice(1)
      .replaceAll(/\/(\d+)/g, "[$1]")
      .replaceAll("/", ".");
    const extra =
      e.keyword === "additionalProperties" ? ` (${(e.params as { additionalProperties: string[] }).additionalProperties.join(", ")})` : "";
    return `${path === "" ? "top level" : path}: ${e.message}${extra}`;
  });
  return list.length > 0 ? list : ["does not have the form engines: [{engine: http://HOST:PORT}]"];
}

type Entry = Static<typeof EndpointSchema>;

function endpointOf(entry: Entry, at: string, file: string, problems: string[]): Endpoint | undefined {
  const engine = origin(entry.engine, `${at}.engine`, ["http:"], problems);
  const runtime = entry.runtime === undefined ? undefined : origin(entry.runtime, `${at}.runtime`, ["http:", "https:"], problems);
  if (entry.runtime !== undefined && entry.apiKeyFile !== undefined) {
    problems.push(`${at}.apiKeyFile: is read only where there is no runtime, which has the key itself: remove one of the two`);
  }
  if (engine === undefined) return undefined;
  return {
    engine: engine.origin,
    host: engine.hostname.replace(/^\[|\]$/g, ""),
    port: engine.port === "" ? 80 : Number(engine.port),
    ...(runtime === undefined ? {} : { runtime: runtime.origin }),
    models: entry.models ?? [],
    ...(entry.apiKeyFile === undefined ? {} : { apiKeyFile: resolve(dirname(file), entry.apiKeyFile) }),
  };
}

function origin(text: string, at: string, protocols: readonly string[], problems: string[]): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain =
    url !== undefined && protocols.includes(url.protocol) && ["", "/"].includes(url.pathname) && url.search === "" && url.hash === "";
  if (!plain || url.username !== "" || url.password !== "") {
    // The value is not repeated: it may hold a password.
    problems.push(`${at}: write ${protocols.map((p) => `${p}//HOST:PORT`).join(" or ")}, without a path`);
    return undefined;
  }
  return url;
}

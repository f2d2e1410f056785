import type { Json, JsonObject } from "@aibrix/devcluster";
import { DEFAULT_TRANSPORT, TRANSPORTS } from "../src/grpc/server.ts";

/** Who answers Envoy's ext_proc filter. */
export type Server =
  | { readonly kind: "none" }
  | { readonly kind: "go" }
  | { readonly kind: "gateway"; readonly flags: readonly string[] }
  /** The gateway that follows a cluster; `reach` says where the engine of a pod's address (`ip:port`) really is, by the engine's number. */
  | { readonly kind: "cluster"; readonly kubeconfig: string; readonly reach: Readonly<Record<string, number>> };

/** One thing that is measured beside the others. */
export interface Variant {
  readonly does: string;
  readonly server: Server;
  /** Changes the configuration of Envoy that ships. */
  readonly envoy: (bootstrap: JsonObject) => JsonObject;
  /** Measured only where it is asked for. */
  readonly asked?: true;
}

const asShipped = (bootstrap: JsonObject): JsonObject => bootstrap;

/** Envoy's defaults: every ext_proc stream ends with RST_STREAM. */
const withResets = ({ layered_runtime: _, ...rest }: JsonObject): JsonObject => rest;

/** The gateway with one of its gRPC servers. */
function transport(name: string): Variant {
  const does = `the gateway with --grpc-transport=${name}${name === DEFAULT_TRANSPORT ? ", as it ships" : ""}`;
  return { does, server: { kind: "gateway", flags: [`--grpc-transport=${name}`] }, envoy: asShipped };
}

/** What the others' latencies are set against. */
export const LIMIT = "none";
/** What the others are compared with. */
export const PEER = "go";

/** The gateway as it ships. */
export const SHIPPED: string = DEFAULT_TRANSPORT;

/** Everything that can be measured, by name. */
export const VARIANTS: Readonly<Record<string, Variant>> = {
  [LIMIT]: { does: "Envoy without ext_proc, the limit", server: { kind: "none" }, envoy: withoutExtProc },
  [PEER]: {
    does: "a minimal ext_proc server in Go (go-control-plane, encoding/json), engines in turn",
    server: { kind: "go" },
    envoy: withBody,
  },
  ...Object.fromEntries(Object.keys(TRANSPORTS).map((name) => [name, transport(name)])),
  [`${SHIPPED}-no-peek`]: { ...transport(SHIPPED), does: "the same, with every body sent to it", envoy: withBody },
  ...Object.fromEntries(
    Object.keys(TRANSPORTS).map((name) => {
      const does = `--grpc-transport=${name}, and an Envoy that resets every ext_proc stream, as is its default; only where it is asked for`;
      return [`${name}-resets`, { ...transport(name), does, envoy: withResets, asked: true } satisfies Variant];
    }),
  ),
};

/** Without filters that read or ask, and with a route that wants no destination. */
export function withoutExtProc(bootstrap: JsonObject): JsonObject {
  const asking = /\.(ext_proc|lua)$/;
  return change(withoutFilters(bootstrap, asking), "match", (match) => ({
    prefix: (match as { readonly prefix: string }).prefix,
  })) as JsonObject;
}

/** Without Envoy's own look for the model: the server gets every body, as one message. */
export function withBody(bootstrap: JsonObject): JsonObject {
  return change(withoutFilters(bootstrap, /\.lua$/), "request_body_mode", () => "BUFFERED") as JsonObject;
}

function withoutFilters(bootstrap: JsonObject, which: RegExp): JsonObject {
  const rest = (filters: Json): Json => (filters as readonly JsonObject[]).filter(({ name }) => !which.test(String(name)));
  return change(bootstrap, "http_filters", rest) as JsonObject;
}

/** Every value under this key, wherever it stands, replaced. */
function change(value: Json, key: string, by: (value: Json) => Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => change(item, key, by));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === key ? by(v) : change(v, key, by)]));
}

/** A value that is written to Envoy as JSON or YAML. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** An object of Envoy's configuration. */
export type JsonObject = { readonly [key: string]: Json };

/** Where something listens. */
export interface Address {
  readonly host: string;
  /** 1–65535 */
  readonly port: number;
}

/** An Envoy message inside an `Any`. */
export function typed(type: string, fields: JsonObject = {}): JsonObject {
  return { "@type": `type.googleapis.com/envoy.${type}`, ...fields };
}

/** An Envoy extension: its name and its configuration. */
export function extension(name: string, type: string, fields: JsonObject = {}): JsonObject {
  return { name, typed_config: typed(type, fields) };
}

/** Envoy's `core.v3.Address`. */
export function socketAddress({ host, port }: Address): JsonObject {
  return { socket_address: { address: host, port_value: port } };
}

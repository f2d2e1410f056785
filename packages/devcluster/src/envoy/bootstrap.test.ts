import { ENVOY_RETRIES, HEADER_ATTEMPTS, HEADER_DESTINATION } from "@aibrix/api";
import { expect, test } from "vitest";
import { type EnvoyOptions, envoyBootstrap } from "./bootstrap.ts";

const OPTIONS: EnvoyOptions = {
  listenPort: 8080,
  adminPort: 9901,
  extProc: { host: "127.0.0.1", port: 50_052 },
  engines: [
    { host: "127.0.0.1", port: 8000 },
    { host: "::1", port: 8001 },
  ],
};

/** Every value in the configuration under this key, wherever it stands. */
function under(key: string, value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([k, v]) => [...(k === key ? [v] : []), ...under(key, v)]);
}

test("what the data path relies on stands in the configuration", () => {
  const config = envoyBootstrap(OPTIONS);
  expect(under("failure_mode_allow", config)).toEqual([false]);
  expect(under("processing_mode", config)).toEqual([
    {
      request_header_mode: "SEND",
      request_body_mode: "NONE",
      request_trailer_mode: "SKIP",
      response_header_mode: "SKIP",
      response_body_mode: "NONE",
      response_trailer_mode: "SKIP",
    },
  ]);
  expect(under("num_retries", config)).toEqual([ENVOY_RETRIES]);
  expect(under("retriable_status_codes", config)).toEqual([[404, 503]]);
  expect(under("override_host_sources", config)).toEqual([[{ header: HEADER_DESTINATION }]]);
  expect(under("key_matcher", config)).toContainEqual({ prefix: "x-gateway-" });
  expect(under("timeout", config)).toEqual(["0s"]);
  expect(under("request_timeout", config)).toEqual(["300s"]);
  expect(under("receiving_namespaces", config)).toEqual([{ untyped: ["envoy.lb"] }]);
  expect(under("response_headers_to_add", config)).toMatchObject([[{ header: { key: HEADER_ATTEMPTS } }]]);
  expect(new Set(under("per_connection_buffer_limit_bytes", config))).toEqual(new Set([32 * 1024 * 1024]));
  expect(under("static_layer", config)).toEqual([{ "envoy.reloadable_features.ext_proc_graceful_grpc_close": true }]);
});

test("engines are only reached with a destination, and only these engines", () => {
  const config = envoyBootstrap(OPTIONS);
  const [routes] = under("routes", config) as [{ match: { headers?: unknown }; route?: { cluster: string } }[]];
  expect(routes.filter((r) => r.route !== undefined).map((r) => r.match.headers)).toEqual([
    [{ name: HEADER_DESTINATION, present_match: true }],
  ]);
  const clusters = under("clusters", config)[0] as { name: string; type: string }[];
  expect(clusters.map((c) => [c.name, c.type])).toEqual([
    ["aibrix-engines", "STATIC"],
    ["ext_proc", "STATIC"],
  ]);
  expect(under("socket_address", clusters[0])).toEqual([
    { address: "127.0.0.1", port_value: 8000 },
    { address: "::1", port_value: 8001 },
  ]);
});

test("an engine by name is refused: the destination names addresses", () => {
  expect(() => envoyBootstrap({ ...OPTIONS, engines: [{ host: "localhost", port: 8000 }] })).toThrow('"localhost" is not an IP address');
});

test("the gateway may have a name", () => {
  const config = envoyBootstrap({ ...OPTIONS, extProc: { host: "gateway", port: 1 } });
  expect(under("type", under("clusters", config)[0])).toEqual(["STATIC", "STRICT_DNS"]);
  expect(under("dns_lookup_family", config)).toEqual(["V4_PREFERRED"]);
});

test("admin is on this machine alone, and can be left out", () => {
  expect(under("admin", envoyBootstrap(OPTIONS))).toEqual([{ address: { socket_address: { address: "127.0.0.1", port_value: 9901 } } }]);
  expect(envoyBootstrap({ ...OPTIONS, adminPort: undefined })).not.toHaveProperty("admin");
});

test("the access log is there when it is asked for, and holds no query and no body", () => {
  expect(under("access_log", envoyBootstrap(OPTIONS))).toEqual([]);
  const text = JSON.stringify(under("access_log", envoyBootstrap({ ...OPTIONS, accessLogPath: "/tmp/x.log" })));
  expect(text).toContain("/tmp/x.log");
  expect(text).toContain("%PATH(NQ:PATH)%");
});

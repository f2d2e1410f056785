import type { Endpoint, EndpointSlice } from "@aibrix/kube";
import { expect, test } from "vitest";
import { engineAddresses } from "./addresses.ts";

const ready = (...addresses: string[]): Endpoint => ({ addresses, conditions: { ready: true } });

function slice(name: string, endpoints: readonly Endpoint[], port = 8000, over: Partial<EndpointSlice> = {}): EndpointSlice {
  return { metadata: { name }, addressType: "IPv4", endpoints, ports: [{ port, protocol: "TCP" }], ...over };
}

test.each<[string, readonly EndpointSlice[], readonly string[]]>([
  ["nothing without slices", [], []],
  ["nothing in a slice without endpoints", [slice("a", []), slice("b", [], 8000, { endpoints: null })], []],
  ["all slices, in a fixed order", [slice("b", [ready("10.0.0.2")]), slice("a", [ready("10.0.0.1")])], ["10.0.0.1:8000", "10.0.0.2:8000"]],
  ["each port", [slice("a", [ready("10.0.0.1")]), slice("b", [ready("10.0.0.1")], 9000)], ["10.0.0.1:8000", "10.0.0.1:9000"]],
  [
    "both families",
    [slice("a", [ready("10.0.0.1")]), slice("b", [ready("fd00::1")], 8000, { addressType: "IPv6" })],
    ["10.0.0.1:8000", "fd00::1:8000"],
  ],
  ["an address once", [slice("a", [ready("10.0.0.1")]), slice("b", [ready("10.0.0.1")])], ["10.0.0.1:8000"]],
  ["no endpoint that is not ready", [slice("a", [{ addresses: ["10.0.0.1"], conditions: { ready: false, serving: true } }])], []],
  ["an endpoint that does not say it", [slice("a", [{ addresses: ["10.0.0.1"] }])], ["10.0.0.1:8000"]],
  ["no names", [slice("a", [ready("engine.example")], 8000, { addressType: "FQDN" })], []],
  [
    "no UDP, and no port without a number",
    [slice("a", [ready("10.0.0.1")], 0, { ports: [{ port: 53, protocol: "UDP" }, { name: "any" }] })],
    [],
  ],
])("engines are %s", (_, slices, want) => {
  expect(engineAddresses(slices).map(({ host, port }) => `${host}:${port}`)).toEqual(want);
});

import { expect, test } from "vitest";
import { addressPatch } from "./addresses.ts";

const type = "LoadBalancer";

test.each([
  { name: "one without an address", service: { spec: { type }, status: { loadBalancer: {} } }, patched: true },
  {
    name: "one with another address",
    service: { spec: { type }, status: { loadBalancer: { ingress: [{ ip: "10.0.0.1" }] } } },
    patched: true,
  },
  { name: "one that has it", service: { spec: { type }, status: { loadBalancer: { ingress: [{ ip: "10.0.0.2" }] } } }, patched: false },
  { name: "a Service of another type", service: { spec: { type: "ClusterIP" }, status: { loadBalancer: {} } }, patched: false },
])("$name: patched is $patched", ({ service, patched }) => {
  const patch = [{ op: "add", path: "/status/loadBalancer", value: { ingress: [{ ip: "10.0.0.2", ipMode: "VIP" }] } }];
  expect(addressPatch(service, "10.0.0.2")).toEqual(patched ? patch : []);
});

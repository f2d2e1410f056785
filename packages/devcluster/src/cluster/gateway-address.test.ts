import { expect, test } from "vitest";
import { balancerUrl, nodePortUrl } from "./gateway-address.ts";

const spec = { ports: [{ port: 80, nodePort: 31_234 }] };
const given = (ingress: object) => ({ spec, status: { loadBalancer: { ingress: [ingress] } } });

test.each([
  { name: "no status", service: { spec }, url: undefined },
  { name: "no address yet", service: { spec, status: { loadBalancer: {} } }, url: undefined },
  { name: "an address", service: given({ ip: "192.0.2.7" }), url: "http://192.0.2.7:80" },
  { name: "an address of six", service: given({ ip: "fd00::7" }), url: "http://[fd00::7]:80" },
  { name: "a name", service: given({ hostname: "lb.example.com" }), url: "http://lb.example.com:80" },
])("$name: the gateway is at $url", ({ service, url }) => {
  expect(balancerUrl(service)).toBe(url);
});

test("without a load balancer it is at a node's port", () => {
  expect(nodePortUrl({ spec }, "192.0.2.1")).toBe("http://192.0.2.1:31234");
  expect(nodePortUrl({ spec }, "[fd00::1]")).toBe("http://[fd00::1]:31234");
  expect(nodePortUrl({ spec: { ports: [{ port: 80 }] } }, "192.0.2.1")).toBeUndefined();
});

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { request } from "undici";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isGuardedAddress } from "./addresses.ts";
import { readAllowedHosts } from "./allowed.ts";
import { Egress, guardRefusal } from "./egress.ts";

let server: Server;
let port: number;
let egress: Egress | undefined;
beforeEach(async () => {
  server = createServer((_, response) => response.end("here"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  await egress?.close();
  server.closeAllConnections();
  server.close();
});

/** What names resolve to. */
const NAMES: Readonly<Record<string, { address: string; family: number }[]>> = {
  "storage.example.test": [{ address: "127.0.0.1", family: 4 }],
  "half.example.test": [
    { address: "192.0.2.1", family: 4 },
    { address: "::1", family: 6 },
  ],
  localhost: [{ address: "127.0.0.1", family: 4 }],
};

function open(list = "", env: NodeJS.ProcessEnv = {}): Egress {
  const allowed = readAllowedHosts(list);
  if ("bad" in allowed) throw new Error(allowed.bad);
  egress = new Egress(allowed, env, 2_000, (name, _options, callback) => callback(null, NAMES[name] ?? []));
  return egress;
}

/** What a request by this way out comes to: without `check` first, as for a redirect that somebody forgot to check. */
async function get(url: string): Promise<string> {
  const { body } = await request(url, { dispatcher: (egress as Egress).dispatcher });
  return await body.text();
}

test.each([
  "127.0.0.1",
  "127.9.9.9",
  "0.0.0.0",
  "169.254.169.254",
  "169.254.170.2",
  "100.100.100.200",
  "168.63.129.16",
  "255.255.255.255",
  "224.0.0.1",
  "::",
  "::1",
  "0:0:0:0:0:0:0:1",
  "fe80::1",
  "fe80::1%eth0",
  "febf::1",
  "fd00:ec2::254",
  "::ffff:127.0.0.1",
  "::ffff:a9fe:a9fe",
  "::127.0.0.1",
  "64:ff9b::169.254.169.254",
  "2002:7f00:1::",
  "2002:a9fe:a9fe::1",
  "64:ff9b:1::a9fe:a9fe",
  "64:ff9b:1:a9fe:a9:fe00::",
])("%s is guarded", (address) => {
  expect(isGuardedAddress(address)).toBe(true);
});

test.each([
  "10.0.0.1",
  "192.168.1.1",
  "172.16.0.1",
  "169.253.1.1",
  "128.0.0.1",
  "8.8.8.8",
  "fd00::1",
  "2001:db8::1",
  "fec0::1",
  "::ffff:10.0.0.1",
  "64:ff9b::8.8.8.8",
  "2002:a00:1::",
])("%s is not", (address) => {
  expect(isGuardedAddress(address)).toBe(false);
});

test("every way to write an IPv4 address of this machine is guarded", () => {
  fc.assert(
    fc.property(fc.nat(0xffffff), fc.constantFrom("::ffff:", "::", "64:ff9b::"), (low, prefix) => {
      const address = `127.${low >> 16}.${(low >> 8) & 255}.${low & 255}`;
      expect(isGuardedAddress(address)).toBe(true);
      expect(isGuardedAddress(prefix + address)).toBe(true);
    }),
  );
});

test.each([
  "http://127.0.0.1/",
  "http://127.1/",
  "http://0x7f000001/",
  "http://2130706433/",
  "http://[::1]/",
  "http://[::ffff:7f00:1]/",
  "http://localhost/",
  "http://LOCALHOST./",
  "http://a.localhost/",
  "http://metadata.google.internal/",
  "http://metadata.goog/",
  "http://169.254.169.254/latest",
])("%s is refused by its text, with what to set", (url) => {
  expect(() => open().check(new URL(url))).toThrow(
    expect.objectContaining({ reason: "ArtifactNotAllowed", message: expect.stringContaining("--allow-artifact-hosts") }),
  );
});

test("where the SDK fetches its credentials from is no place for artifacts", () => {
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://169.254.170.23/v1/credentials" };
  expect(() => open("", env).check(new URL("http://169.254.170.23/x.zip"))).toThrow(
    expect.objectContaining({ reason: "ArtifactNotAllowed" }),
  );
});

test.each(["http://10.0.0.1/", "https://huggingface.co/", "http://minio.storage.svc:9000/"])("%s is not", (url) => {
  expect(() => open().check(new URL(url))).not.toThrow();
});

test("a connection to a guarded address is refused where it is made", async () => {
  open();
  const error = await get(`http://127.0.0.1:${port}/`).catch((e: unknown) => e);
  expect(guardRefusal(error)).toMatchObject({ reason: "ArtifactNotAllowed", retryable: false });
});

test.each(["storage.example.test", "half.example.test"])("a name is checked by what it resolves to: %s", async (name) => {
  open();
  const error = await get(`http://${name}:${port}/`).catch((e: unknown) => e);
  expect(guardRefusal(error)).toMatchObject({
    reason: "ArtifactNotAllowed",
    message: expect.stringMatching(new RegExp(`^${name} \\((127\\.0\\.0\\.1|::1)\\)`)),
  });
});

test.each(["storage.example.test", "*.example.test", "127.0.0.0/8"])(
  "a name that resolves to this machine is allowed by %s",
  async (list) => {
    open(list);
    expect(await get(`http://storage.example.test:${port}/`)).toBe("here");
  },
);

test.each([
  { name: "the address", list: "127.0.0.1", env: {} },
  { name: "the address with its port", list: "127.0.0.1:PORT", env: {} },
  { name: "the network", list: "127.0.0.0/8", env: {} },
  { name: "everything", list: "*", env: {} },
  { name: "the operator's Hub", list: "", env: { HF_ENDPOINT: "http://127.0.0.1:PORT/x" } },
  { name: "the operator's S3", list: "", env: { AWS_ENDPOINT_URL_S3: "http://127.0.0.1:PORT" } },
  { name: "an emulator without scheme", list: "", env: { STORAGE_EMULATOR_HOST: "127.0.0.1:PORT" } },
])("allowed: $name", async ({ list, env }) => {
  const filled = Object.fromEntries(Object.entries(env).map(([k, v]) => [k, String(v).replace("PORT", String(port))]));
  open(list.replace("PORT", String(port)), filled).check(new URL(`http://127.0.0.1:${port}/`));
  expect(await get(`http://127.0.0.1:${port}/`)).toBe("here");
});

test("the leave for a port is for no other port: an engine beside the Hub is not reached", async () => {
  open(`127.0.0.1:${port + 1}`, { HF_ENDPOINT: `http://localhost:${port + 1}` });
  for (const host of ["127.0.0.1", "localhost"]) {
    const error = await get(`http://${host}:${port}/`).catch((e: unknown) => e);
    expect(guardRefusal(error)).toMatchObject({ reason: "ArtifactNotAllowed" });
  }
});

test.each(["http://x", "a b", "10.0.0.0/33", "::1/129", "a/8"])("--allow-artifact-hosts=%s is refused", (list) => {
  expect(readAllowedHosts(list)).toHaveProperty("bad");
});

test("--allow-artifact-hosts takes names, addresses and networks", () => {
  expect(readAllowedHosts("a.example, *.b, 10.0.0.1:80, ::1, 10.0.0.0/8, fd00::/8")).toMatchObject({
    hosts: ["a.example", "*.b", "10.0.0.1:80", "[::1]"],
  });
});

test("a proxy of the environment is asked, unless NO_PROXY names the host", async () => {
  const asked: string[] = [];
  const proxy = createServer((incoming, response) => {
    asked.push(incoming.url ?? "");
    response.end("by the proxy");
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  try {
    open(`127.0.0.1:${port}`, { HTTP_PROXY: url, NO_PROXY: "127.0.0.1" });
    expect(await get("http://files.example.test/a.zip")).toBe("by the proxy");
    expect(asked).toEqual(["http://files.example.test/a.zip"]);
    expect(await get(`http://127.0.0.1:${port}/`)).toBe("here");
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

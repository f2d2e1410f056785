import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Options, readOptions } from "./options.ts";

const sourceOf = (...argv: string[]): Options["source"] => {
  const options = readOptions(argv);
  if ("help" in options) throw new Error("help was not asked for");
  return options.source;
};

test.each([
  { argv: [], want: { kind: "kubernetes", kubeconfig: undefined, namespace: undefined } },
  { argv: ["--kubernetes"], want: { kind: "kubernetes", kubeconfig: undefined, namespace: undefined } },
  { argv: ["--kubeconfig=/k", "--namespace=team"], want: { kind: "kubernetes", kubeconfig: "/k", namespace: "team" } },
  { argv: ["--namespace="], want: { kind: "kubernetes", kubeconfig: undefined, namespace: undefined } },
  { argv: ["--endpoints-config=/e.yaml"], want: { kind: "file", file: "/e.yaml" } },
])("$argv", ({ argv, want }) => {
  expect(sourceOf(...argv)).toEqual(want);
});

test.each([
  { argv: ["--endpoints-config="], want: "--endpoints-config is empty" },
  { argv: ["--endpoints-config=x", "--kubernetes"], want: "--endpoints-config and --kubernetes" },
  { argv: ["--endpoints-config=x", "--kubeconfig=k", "--namespace=n"], want: "--endpoints-config and --kubeconfig, --namespace" },
])("$argv is refused", ({ argv, want }) => {
  expect(() => readOptions(argv)).toThrow(want);
});

test.each([
  { argv: [], want: 30_000 },
  { argv: ["--update-hold=0s"], want: 0 },
  { argv: ["--update-hold=44s"], want: 44_000 },
  { argv: ["--update-hold=2m", "--envoy-message-timeout=121s"], want: 120_000 },
  { argv: ["--update-hold=599s", "--envoy-message-timeout=10m"], want: 599_000 },
  { argv: ["--update-hold=0s", "--envoy-message-timeout=1s"], want: 0 },
])("$argv holds requests during a swap for $want ms", ({ argv, want }) => {
  expect(readOptions(argv)).toMatchObject({ updateHoldMs: want });
});

test.each(["", "30", "-1s", "1h", "1000s"])("--update-hold=%s is refused", (text) => {
  expect(() => readOptions([`--update-hold=${text}`])).toThrow(`--update-hold=${text}: write a time`);
});

test.each(["", "45", "0s", "11m", "601s"])("--envoy-message-timeout=%s is refused", (text) => {
  expect(() => readOptions([`--envoy-message-timeout=${text}`])).toThrow(`--envoy-message-timeout=${text}: write Envoy's`);
});

test.each([
  { argv: ["--update-hold=45s"], want: "--update-hold=45s: Envoy waits for the plugin no longer than 45s" },
  { argv: ["--update-hold=2m"], want: "write at most 44s, or set ext_proc's message_timeout in Envoy" },
  { argv: ["--update-hold=2m"], want: "to 121s or more" },
  { argv: ["--envoy-message-timeout=20s"], want: "--update-hold=30s: Envoy waits for the plugin no longer than 20s" },
])("$argv would be failed by Envoy: it is refused, with what to change", ({ argv, want }) => {
  expect(() => readOptions(argv)).toThrow(want);
});

test("the Envoy that is shipped waits for as long as the plugin takes it to", () => {
  const shipped = readFileSync(join(import.meta.dirname, "../../../deploy/envoy-gateway/policies.yaml"), "utf8");
  const [, seconds] = /^ *messageTimeout: (\d+)s$/m.exec(shipped) ?? [];
  expect(() => readOptions([`--update-hold=${seconds}s`])).toThrow(`no longer than ${seconds}s`);
});

const grpcOf = (...argv: string[]): Options["grpc"] => {
  const options = readOptions(argv);
  if ("help" in options) throw new Error("help was not asked for");
  return options.grpc;
};

test.each(["own", "node-http2", "grpc-js"])("the server may be %s", (transport) => {
  expect(grpcOf(`--grpc-transport=${transport}`)).toMatchObject({ transport, tls: undefined });
});

test("with a certificate the server is one that serves TLS", () => {
  const files = ["--grpc-tls-cert-file=/c", "--grpc-tls-key-file=/k"];
  const tls = { certFile: "/c", keyFile: "/k", clientCaFile: undefined };
  expect(grpcOf(...files)).toMatchObject({ transport: "node-http2", tls });
  expect(grpcOf(...files, "--grpc-tls-client-ca-file=/a", "--grpc-transport=grpc-js")).toMatchObject({
    transport: "grpc-js",
    tls: { ...tls, clientCaFile: "/a" },
  });
});

test.each([
  { argv: ["--grpc-transport=quic"], want: "--grpc-transport=quic: write own, node-http2, grpc-js" },
  { argv: ["--grpc-tls-cert-file=/c"], want: "TLS needs both" },
  { argv: ["--grpc-tls-client-ca-file=/a"], want: "TLS needs both" },
  { argv: ["--grpc-tls-cert-file=/c", "--grpc-tls-key-file=/k", "--grpc-transport=own"], want: "--grpc-transport=own serves no TLS" },
])("$argv is refused", ({ argv, want }) => {
  expect(() => readOptions(argv)).toThrow(want);
});

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
  { argv: ["--update-hold=10m"], want: 600_000 },
])("$argv holds requests during a swap for $want ms", ({ argv, want }) => {
  expect(readOptions(argv)).toMatchObject({ updateHoldMs: want });
});

test.each(["", "30", "11m", "-1s", "1h", "601s"])("--update-hold=%s is refused", (text) => {
  expect(() => readOptions([`--update-hold=${text}`])).toThrow(`--update-hold=${text}: write a time`);
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

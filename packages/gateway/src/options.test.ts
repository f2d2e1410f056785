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

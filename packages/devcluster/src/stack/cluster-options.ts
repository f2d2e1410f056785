import { accessSync, constants } from "node:fs";
import { resolve } from "node:path";
import { UsageError } from "./errors.ts";
import { type Bases, oneOf, text } from "./flag-values.ts";
import { DEFAULTS, type Values } from "./flags.ts";

/** A platform on Kubernetes. */
export interface ClusterOptions {
  readonly mode: "kubernetes";
  readonly detach: boolean;
  readonly dir: string;
  /** `undefined`: what fits this machine. */
  readonly cluster: "node" | "kind" | undefined;
  /** File of a cluster that exists. */
  readonly kubeconfig: string | undefined;
  /** Goes before the images' names. */
  readonly imageRegistry: string | undefined;
  /** What answers to `vllm/vllm-openai`. */
  readonly engine: "mock" | "vllm";
}

/** Flags of a stack without Kubernetes, and what to do instead. */
const NOT_HERE: Readonly<Record<string, string>> = {
  adapters: "ModelAdapters are applied with kubectl",
  engines: "a base model's Deployment says its replicas",
  "engine-url": "engines are pods of the cluster",
  "engine-arg": "arguments are in the base model's Deployment, such as samples/adapter/base.yaml",
  "api-key-file": "the key is in the base model's Deployment, such as samples/adapter/base-with-key.yaml",
  s3: "an S3 server is always there",
  hub: "the environment variable HF_ENDPOINT of the engines' pods names it",
  port: "the gateway is reached at the address that the start prints, and stack.json names",
};

/** Whether these flags ask for Kubernetes. */
export function isForCluster(values: Values): boolean {
  return ["kubernetes", "cluster", "kubeconfig", "image-registry"].some((name) => values[name] !== undefined);
}

/** @throws {@link UsageError} that names everything that does not fit together */
export function readClusterOptions(values: Values, dir: string, bases: Bases): ClusterOptions {
  const file = text(values, "kubeconfig");
  const kubeconfig = file === undefined ? undefined : resolve(bases.cwd, file);
  const cluster = text(values, "cluster");
  const imageRegistry = text(values, "image-registry");
  const problems = [
    ...Object.entries(NOT_HERE).flatMap(([name, instead]) =>
      values[name] === undefined ? [] : [`--${name} has no meaning on Kubernetes: ${instead}`],
    ),
    ...(kubeconfig !== undefined && cluster !== undefined
      ? ["--kubeconfig uses a cluster that exists, so --cluster has nothing to start: leave one of them out"]
      : []),
    ...(kubeconfig === undefined && imageRegistry !== undefined
      ? ["--image-registry goes with --kubeconfig: a cluster that is started here has a registry of its own"]
      : []),
    ...(kubeconfig === undefined ? [] : unreadable(kubeconfig)),
    ...(imageRegistry === undefined || /^[a-z0-9][a-z0-9.-]*(:\d+)?(\/[a-z0-9._/-]*[a-z0-9])?$/.test(imageRegistry)
      ? []
      : [`--image-registry=${imageRegistry} must be what stands before an image's name, such as registry.example.com/aibrix-dev`]),
  ];
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
  return {
    mode: "kubernetes",
    detach: values.detach === true,
    dir,
    cluster: cluster === undefined ? undefined : oneOf("cluster", cluster, ["node", "kind"]),
    kubeconfig,
    imageRegistry,
    engine: oneOf("engine", text(values, "engine") ?? DEFAULTS.engine, ["mock", "vllm"]),
  };
}

function unreadable(file: string): readonly string[] {
  try {
    accessSync(file, constants.R_OK);
    return [];
  } catch (error) {
    return [`--kubeconfig=${file} cannot be read (${(error as NodeJS.ErrnoException).code}): name the file that kubectl uses`];
  }
}

import { stat } from "node:fs/promises";
import { ensureEnvoy } from "../parts/envoy.ts";
import { ensureEnvoyGateway } from "../parts/envoy-gateway.ts";
import { ENVOY_GATEWAY_VERSION } from "../parts/gateway-charts.ts";
import type { PartContext } from "../parts/part-context.ts";
import { ensureVersitygw } from "../parts/versitygw.ts";
import { copyProgram, IMAGE_USER, writeRootFiles } from "./closure.ts";
import type { ImageSpec } from "./spec.ts";
import { vllmSource } from "./vllm-image.ts";

/** The Hub of a cluster on this machine, as its pods reach it. */
const CLUSTER_HUB = "http://hub.aibrix-dev.svc.cluster.local";

const DEV = "dev";
/** What manifests of users say. */
const RUNTIME_TAG = "v0.2.1";
const VLLM_IMAGE = "vllm/vllm-openai:v0.7.1";

function component(name: string, folder: string, tag: string): ImageSpec {
  return { name, references: [`aibrix/${name}:${tag}`], source: { kind: "dockerfile", target: name, package: folder, args: {} } };
}

/** The images of this project, as it is installed anywhere. */
export function ownImages(tag: string = DEV): readonly ImageSpec[] {
  return [
    component("controller-manager", "controller", tag),
    component("gateway-plugins", "gateway", tag),
    component("runtime", "runtime", tag),
    component("mock-engine", "mock-engine", tag),
  ];
}

/** What a cluster on this machine has in other images than users have. */
export const DEV_IMAGES: readonly ImageSpec[] = [
  {
    name: "runtime-dev",
    references: [`aibrix/runtime:${RUNTIME_TAG}`, `aibrix/runtime:${DEV}`],
    source: { kind: "dockerfile", target: "runtime-dev", package: "runtime", args: { HF_ENDPOINT: CLUSTER_HUB } },
  },
  {
    name: "vllm-mock",
    references: [VLLM_IMAGE],
    source: { kind: "dockerfile", target: "vllm-mock", package: "mock-engine", args: { HF_ENDPOINT: CLUSTER_HUB } },
  },
  { name: "vllm-cpu", references: [VLLM_IMAGE], source: vllmSource(CLUSTER_HUB) },
  component("dev-services", "dev-services", DEV),
  {
    name: "envoy",
    references: ["envoyproxy/envoy:v1.40.0"],
    source: {
      kind: "files",
      official: "docker.io/envoyproxy/envoy:v1.40.0",
      config: { User: IMAGE_USER, Env: ["PATH=/usr/local/bin:/usr/bin"], Entrypoint: ["/usr/local/bin/envoy"] },
      plan: async (context) => program((await ensureEnvoy(context)).bin, "/usr/local/bin/envoy", context),
    },
  },
  {
    name: "envoy-gateway",
    references: [`envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`],
    source: {
      kind: "files",
      official: `docker.io/envoyproxy/gateway:${ENVOY_GATEWAY_VERSION}`,
      config: { User: IMAGE_USER, Env: ["PATH=/usr/local/bin:/usr/bin"], Entrypoint: ["/usr/local/bin/envoy-gateway"] },
      plan: async (context) => program((await ensureEnvoyGateway(context)).bin, "/usr/local/bin/envoy-gateway", context),
    },
  },
  {
    name: "versitygw",
    references: ["versity/versitygw:v1.8.0"],
    source: {
      kind: "files",
      official: "docker.io/versity/versitygw:v1.8.0",
      config: { User: IMAGE_USER, Env: ["PATH=/usr/local/bin:/usr/bin"], Entrypoint: ["/usr/local/bin/versitygw"] },
      plan: async (context) => program((await ensureVersitygw(context)).bin, "/usr/local/bin/versitygw", context),
    },
  },
];

/** An image of one program of this machine and the libraries that it is linked to. */
async function program(
  bin: string,
  to: string,
  { signal }: PartContext,
): ReturnType<Extract<ImageSpec["source"], { kind: "files" }>["plan"]> {
  const { size, mtimeMs } = await stat(bin);
  return {
    key: JSON.stringify([bin, to, size, mtimeMs]),
    stage: async (root) => {
      await writeRootFiles(root);
      await copyProgram(bin, root, to, signal);
      return [{ from: root, to: "/" }];
    },
  };
}

/** All images that a cluster on this machine pulls, apart from the node's own. What is called vLLM's image is the engine's. */
export function clusterImages(engine: "mock" | "vllm"): readonly ImageSpec[] {
  const unused = engine === "mock" ? "vllm-cpu" : "vllm-mock";
  const own = ownImages().filter(({ name }) => name === "controller-manager" || name === "gateway-plugins");
  return [...own, ...DEV_IMAGES.filter(({ name }) => name !== unused)];
}

import { vllmServeCommand } from "../parts/vllm-serve.ts";
import type { StandaloneFile } from "./stack-file.ts";

/** A part of the stack as data: what to run, how to see that it works, in which order it ends. */
export interface PartPlan {
  readonly name: string;
  readonly command: string;
  /** Never holds a secret: everybody on the machine can read it. */
  readonly args: readonly string[];
  /** Added to the environment; `undefined` takes a variable away. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where it listens. */
  readonly url: string;
  /** What answers 2xx once it works; with `anyStatus` whatever it answers. */
  readonly probe: { readonly url: string; readonly anyStatus: boolean };
  readonly readyWithinMs: number;
  readonly graceMs: number;
  /** Parts of a lower number are ended first. */
  readonly stopOrder: number;
}

/** Where the programs are. */
export interface Programs {
  readonly node: string;
  readonly hub: string;
  readonly mockEngine: string;
  readonly runtime: string;
  readonly gateway: string;
  readonly envoy: string;
  readonly s3: string | undefined;
  readonly vllm: string | undefined;
}

/** An engine of the stack: one to be started on a port, or one that runs already. */
export interface EngineSlot {
  /** `engine-1`, `engine-2`, … */
  readonly name: string;
  /** Where it listens or will listen; its host is an IP address. */
  readonly url: string;
  readonly port: number;
  readonly runtimePort: number;
}

export interface StackPorts {
  /** `undefined`: a Hub elsewhere is used. */
  readonly hub: number | undefined;
  readonly s3: number | undefined;
  readonly grpc: number;
  readonly gatewayMetrics: number;
  readonly envoy: number;
  readonly envoyAdmin: number;
}

/** Everything that the plan depends on. */
export interface PlanInput {
  readonly engine: StandaloneFile["engine"];
  readonly engines: readonly EngineSlot[];
  readonly engineArgs: readonly string[];
  readonly apiKey: string | undefined;
  readonly adaptersDir: string;
  readonly hubUrl: string;
  readonly s3:
    | { readonly endpoint: string; readonly accessKeyId: string; readonly secretAccessKey: string; readonly region: string }
    | undefined;
  readonly ports: StackPorts;
  readonly programs: Programs;
  readonly paths: StackPaths;
}

export interface StackPaths {
  readonly hubRoot: string;
  readonly baseModelDir: string;
  readonly s3Data: string;
  readonly s3Iam: string;
  /** A folder per engine is made in it. */
  readonly artifacts: string;
  /** The same for what a real engine keeps. */
  readonly engineCaches: string;
  readonly endpointsConfig: string;
  readonly envoyConfig: string;
}

/** Name under which the started engines serve the base model. */
export const BASE_MODEL = "qwen-coder-1-5b-instruct";

/** Small enough for a laptop; `--engine-arg` overrides each, because the last one counts. */
const MAX_LORAS = 2;
const MAX_CPU_LORAS = 8;
const MAX_LORA_RANK = 8;

const HOST = "127.0.0.1";
const QUICK_MS = 30_000;
/** A real vLLM compiles its Python files at the first start. */
const VLLM_READY_MS = 600_000;

/** The parts that runtimes and engines fetch from: they work before the others begin. */
export function planSources(input: PlanInput): readonly PartPlan[] {
  return [...planHub(input), ...planS3(input)];
}

/** Engines; none where they run already. They take longest, so they are started first. */
export function planEngines(input: PlanInput): readonly PartPlan[] {
  if (input.engine === "external") return [];
  const real = input.engine === "vllm";
  return input.engines.map((slot) => ({
    ...(real ? vllmCommand(input, slot) : mockCommand(input, slot)),
    name: slot.name,
    url: slot.url,
    probe: { url: `${slot.url}/health`, anyStatus: false },
    readyWithinMs: real ? VLLM_READY_MS : QUICK_MS,
    graceMs: real ? 20_000 : 5_000,
    stopOrder: 3,
  }));
}

/** What stands between engines and clients. */
export function planServing(input: PlanInput): readonly PartPlan[] {
  return [...input.engines.map((e) => planRuntime(input, e)), planGateway(input), planEnvoy(input)];
}

type Command = Pick<PartPlan, "command" | "args" | "env">;

function mockCommand({ programs, paths, engineArgs, apiKey }: PlanInput, { port }: EngineSlot): Command {
  const model = ["--model", paths.baseModelDir, "--served-model-name", BASE_MODEL, "--host", HOST, "--port", String(port)];
  const lora = ["--enable-lora", `--max-loras=${MAX_LORAS}`, `--max-cpu-loras=${MAX_CPU_LORAS}`, `--max-lora-rank=${MAX_LORA_RANK}`];
  return {
    command: programs.node,
    args: [programs.mockEngine, ...model, ...lora, ...engineArgs],
    env: { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True", VLLM_API_KEY: apiKey },
  };
}

function vllmCommand({ programs, paths, engineArgs, apiKey }: PlanInput, { name, port }: EngineSlot): Command {
  const { argv, env } = vllmServeCommand({
    bin: programs.vllm ?? "vllm",
    modelDir: paths.baseModelDir,
    servedModelName: BASE_MODEL,
    port,
    maxLoras: MAX_LORAS,
    maxCpuLoras: MAX_CPU_LORAS,
    maxLoraRank: MAX_LORA_RANK,
    cacheDir: `${paths.engineCaches}/${name}`,
    extraArgs: engineArgs,
  });
  const [command, ...args] = argv;
  return { command, args, env: { ...env, VLLM_API_KEY: apiKey } };
}

function planHub({ ports, programs, paths, hubUrl }: PlanInput): readonly PartPlan[] {
  if (ports.hub === undefined) return [];
  return [
    {
      ...nodePart(programs, programs.hub, ["--root", paths.hubRoot, "--host", HOST, "--port", String(ports.hub)]),
      name: "hub",
      env: {},
      url: hubUrl,
      probe: { url: hubUrl, anyStatus: true },
      stopOrder: 4,
    },
  ];
}

function planS3({ ports, programs, paths, s3 }: PlanInput): readonly PartPlan[] {
  if (ports.s3 === undefined || programs.s3 === undefined || s3 === undefined) return [];
  return [
    {
      name: "s3",
      command: programs.s3,
      args: ["--port", `${HOST}:${ports.s3}`, "--region", s3.region, "--iam-dir", paths.s3Iam, "posix", paths.s3Data],
      env: { ROOT_ACCESS_KEY: s3.accessKeyId, ROOT_SECRET_KEY: s3.secretAccessKey },
      url: s3.endpoint,
      probe: { url: s3.endpoint, anyStatus: true },
      readyWithinMs: QUICK_MS,
      graceMs: 5_000,
      stopOrder: 4,
    },
  ];
}

/** The rank limit of the engines that are started; an engine of the user's own says nothing of it. */
function rankFlags({ engine, engineArgs }: PlanInput): readonly string[] {
  if (engine === "external") return [];
  // The last one wins, in the engines too.
  const at = engineArgs.findLastIndex((arg) => /^--max[-_]lora[-_]rank(=|$)/.test(arg));
  const value = at < 0 ? String(MAX_LORA_RANK) : (engineArgs[at]?.split("=")[1] ?? engineArgs[at + 1] ?? "");
  return /^[1-9]\d*$/.test(value) ? ["--max-lora-rank", value] : [];
}

function planRuntime(input: PlanInput, slot: EngineSlot): PartPlan {
  const { programs, paths, adaptersDir, hubUrl, s3 } = input;
  const url = `http://${HOST}:${slot.runtimePort}`;
  // Everything of this stack is on this machine, and so may a user's own storage be.
  const flags = ["--host", HOST, "--port", String(slot.runtimePort), "--allow-artifact-hosts", "127.0.0.1,localhost,::1"];
  const dirs = ["--artifacts-dir", `${paths.artifacts}/${slot.name}`, "--adapters-dir", adaptersDir];
  return {
    ...nodePart(programs, programs.runtime, [...flags, ...dirs, ...rankFlags(input)]),
    name: runtimeName(slot.name),
    env: { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: slot.url, HF_ENDPOINT: hubUrl, ...(s3 === undefined ? {} : s3Env(s3)) },
    url,
    probe: { url: `${url}/healthz`, anyStatus: false },
    stopOrder: 2,
  };
}

/** Name of the runtime beside an engine. */
export function runtimeName(engine: string): string {
  return engine.replace("engine", "runtime");
}

function s3Env(s3: NonNullable<PlanInput["s3"]>): Readonly<Record<string, string | undefined>> {
  return {
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    // The user's own would come first, or sign with a session of another account.
    AWS_SESSION_TOKEN: undefined,
    AWS_PROFILE: undefined,
    AWS_ENDPOINT_URL: undefined,
  };
}

function planGateway({ programs, ports, paths }: PlanInput): PartPlan {
  const metrics = `${HOST}:${ports.gatewayMetrics}`;
  const args = [
    `--grpc-bind-address=${HOST}:${ports.grpc}`,
    `--metrics-bind-address=${metrics}`,
    `--endpoints-config=${paths.endpointsConfig}`,
  ];
  return {
    ...nodePart(programs, programs.gateway, args),
    name: "gateway",
    env: {},
    url: `http://${metrics}`,
    probe: { url: `http://${metrics}/readyz`, anyStatus: false },
    stopOrder: 1,
  };
}

function planEnvoy({ programs, ports, paths }: PlanInput): PartPlan {
  return {
    name: "envoy",
    command: programs.envoy,
    // Without hot restart there is no shared memory to fight over: several Envoys run side by side.
    args: ["--config-path", paths.envoyConfig, "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"],
    env: {},
    url: `http://${HOST}:${ports.envoy}`,
    probe: { url: `http://${HOST}:${ports.envoyAdmin}/ready`, anyStatus: false },
    readyWithinMs: QUICK_MS,
    graceMs: 5_000,
    stopOrder: 0,
  };
}

function nodePart(programs: Programs, program: string, args: readonly string[]) {
  return { command: programs.node, args: [program, ...args], readyWithinMs: QUICK_MS, graceMs: 10_000 };
}

import { expect, test } from "vitest";
import { parse } from "yaml";
import { endpointsConfig } from "./endpoints-config.ts";
import { type PartPlan, type PlanInput, planEngines, planServing, planSources } from "./plan.ts";

const input: PlanInput = {
  engine: "mock",
  engines: [
    { name: "engine-1", url: "http://127.0.0.1:1001", port: 1001, runtimePort: 1002 },
    { name: "engine-2", url: "http://127.0.0.1:1003", port: 1003, runtimePort: 1004 },
  ],
  engineArgs: ["--max-lora-rank=32"],
  apiKey: "sk-secret",
  adaptersDir: "/adapters",
  hubUrl: "http://127.0.0.1:2001",
  s3: { endpoint: "http://127.0.0.1:2002", accessKeyId: "AK-secret", secretAccessKey: "s3-secret", region: "us-east-1" },
  ports: { hub: 2001, s3: 2002, grpc: 2003, gatewayMetrics: 2004, envoy: 2005, envoyAdmin: 2006 },
  programs: {
    node: "node",
    hub: "hub.js",
    mockEngine: "mock.js",
    runtime: "runtime.js",
    gateway: "gateway.js",
    envoy: "envoy",
    s3: "versitygw",
    vllm: "/venv/vllm",
  },
  paths: {
    hubRoot: "/d/hub",
    baseModelDir: "/d/hub/base",
    s3Data: "/d/s3",
    s3Iam: "/d/iam",
    artifacts: "/d/artifacts",
    engineCaches: "/d/engines",
    endpointsConfig: "/c/endpoints.yaml",
    envoyConfig: "/c/envoy.json",
  },
};

const everything = (given: PlanInput): readonly PartPlan[] => [...planSources(given), ...planEngines(given), ...planServing(given)];
const named = (plans: readonly PartPlan[], name: string) => plans.find((p) => p.name === name);

test("every engine has a runtime of its own; all are ended from the clients' side on", () => {
  const parts = everything(input);
  expect(parts.map((p) => p.name)).toEqual(["hub", "s3", "engine-1", "engine-2", "runtime-1", "runtime-2", "gateway", "envoy"]);
  expect([...parts].sort((a, b) => a.stopOrder - b.stopOrder).map((p) => p.name)).toEqual([
    "envoy",
    "gateway",
    "runtime-1",
    "runtime-2",
    "engine-1",
    "engine-2",
    "hub",
    "s3",
  ]);
});

test.each(["mock", "vllm"] as const)("no secret is in any argument (%s)", (engine) => {
  for (const part of everything({ ...input, engine })) expect([part.command, ...part.args].join(" ")).not.toMatch(/secret/);
});

test("a runtime is led to its engine, the Hub and S3 by its environment", () => {
  const runtime = named(everything(input), "runtime-2");
  expect(runtime?.args).toEqual([
    "runtime.js",
    "--host",
    "127.0.0.1",
    "--port",
    "1004",
    "--allow-artifact-hosts",
    "127.0.0.1,localhost,::1",
    "--artifacts-dir",
    "/d/artifacts/engine-2",
    "--adapters-dir",
    "/adapters",
    "--max-lora-rank",
    "32",
  ]);
  expect(runtime?.env).toMatchObject({
    INFERENCE_ENGINE_ENDPOINT: "http://127.0.0.1:1003",
    HF_ENDPOINT: "http://127.0.0.1:2001",
    AWS_ENDPOINT_URL_S3: "http://127.0.0.1:2002",
    AWS_SECRET_ACCESS_KEY: "s3-secret",
  });
});

test.each<{ name: string; change: Partial<PlanInput>; want: string | undefined }>([
  { name: "what is started without more", change: { engineArgs: [] }, want: "8" },
  { name: "two words", change: { engineArgs: ["--max-lora-rank", "64"] }, want: "64" },
  { name: "the last of several", change: { engineArgs: ["--max-lora-rank=64", "--max_lora_rank=16", "--x"] }, want: "16" },
  { name: "nothing of a limit that is none", change: { engineArgs: ["--max-lora-rank"] }, want: undefined },
  { name: "nothing of the user's own engine", change: { engine: "external" }, want: undefined },
])("a runtime knows its engine's limit of ranks: $name", ({ change, want }) => {
  const args = named(everything({ ...input, ...change }), "runtime-1")?.args ?? [];
  const at = args.indexOf("--max-lora-rank");
  expect(at < 0 ? undefined : args[at + 1]).toBe(want);
});

test("with the local S3 nothing of the user's own AWS settings mixes in", () => {
  const env = named(everything(input), "runtime-1")?.env ?? {};
  for (const name of ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"])
    expect(name in env && env[name] === undefined, name).toBe(true);
});

test("without the local S3 the user's own AWS settings reach the runtime", () => {
  const { s3: _, ...rest } = input;
  const without = everything({ ...rest, s3: undefined, ports: { ...input.ports, s3: undefined } });
  expect(Object.keys(named(without, "runtime-1")?.env ?? {}).filter((k) => k.startsWith("AWS_"))).toEqual([]);
  expect(named(without, "s3")).toBeUndefined();
});

test.each(["mock", "vllm"] as const)(
  "a started engine takes adapters while it runs, gets the key by its environment and the user's arguments last (%s)",
  (engine) => {
    const part = named(everything({ ...input, engine }), "engine-1");
    expect(part?.env).toMatchObject({ VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True", VLLM_API_KEY: "sk-secret" });
    expect(part?.args.at(-1)).toBe("--max-lora-rank=32");
    expect(part?.args.join(" ")).toContain("--served-model-name qwen-coder-1-5b-instruct");
  },
);

test("a key in the user's own environment does not lock an engine that should be open", () => {
  for (const engine of ["mock", "vllm"] as const) {
    const env = named(everything({ ...input, engine, apiKey: undefined }), "engine-1")?.env ?? {};
    expect("VLLM_API_KEY" in env && env.VLLM_API_KEY === undefined).toBe(true);
  }
});

test("engines that run already are not started", () => {
  expect(everything({ ...input, engine: "external" }).map((p) => p.name)).toEqual([
    "hub",
    "s3",
    "runtime-1",
    "runtime-2",
    "gateway",
    "envoy",
  ]);
});

test("a Hub elsewhere takes the local one's place", () => {
  const parts = everything({ ...input, hubUrl: "https://huggingface.co", ports: { ...input.ports, hub: undefined } });
  expect(named(parts, "hub")).toBeUndefined();
  expect(named(parts, "runtime-1")?.env.HF_ENDPOINT).toBe("https://huggingface.co");
});

test.each([
  { name: "an open engine tells its base model itself", given: { ...input, apiKey: undefined }, models: undefined },
  { name: "a locked one cannot", given: input, models: ["qwen-coder-1-5b-instruct"] },
  {
    name: "a renamed one is not known by the usual name",
    given: { ...input, engineArgs: ["--served-model-name=other"] },
    models: undefined,
  },
  { name: "nor is one of the user's", given: { ...input, engine: "external" as const }, models: undefined },
])("the gateway follows each engine by its runtime: $name", ({ given, models }) => {
  const entry = { engine: "http://127.0.0.1:1001", runtime: "http://127.0.0.1:1002" };
  expect(parse(endpointsConfig(given)).engines[0]).toEqual(models === undefined ? entry : { ...entry, models });
});

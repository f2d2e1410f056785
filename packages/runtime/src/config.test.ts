import { everyAddress } from "@aibrix/service";
import { expect, test } from "vitest";
import { help, readConfig } from "./config.ts";

test("has defaults for everything", () => {
  expect(readConfig([], {})).toEqual({
    host: everyAddress(),
    modelsDir: "/tmp/aibrix/models",
    port: 8080,
    artifactsDir: "/tmp/aibrix/adapters",
    tokenFile: undefined,
    engineApiKeyFile: undefined,
    podFolder: undefined,
    cache: { maxBytes: undefined, minFree: { share: 0.05 } },
    adaptersDir: undefined,
    podLabels: {},
    allowedHosts: { hosts: [], networks: expect.anything() },
    transfer: { timeoutMs: 43_200_000, bytesPerSecond: Number.POSITIVE_INFINITY },
    engineKind: "vllm",
    engineEndpoint: "http://localhost:8000",
    probe: "auto",
  });
});

test("reads flags and environment", () => {
  const argv = ["--port=0", "--host", "127.0.0.1", "--adapters-dir", "/m", "--pod-label", "a/b=c", "--pod-label=d="];
  expect(readConfig(argv, { INFERENCE_ENGINE: "vllm", INFERENCE_ENGINE_ENDPOINT: "http://e:1" })).toMatchObject({
    host: "127.0.0.1",
    port: 0,
    adaptersDir: "/m",
    podLabels: { "a/b": "c", d: "" },
    engineEndpoint: "http://e:1",
  });
});

test.each([
  { argv: ["--cache-size=50Gi"], want: { maxBytes: 50 * 2 ** 30 } },
  { argv: ["--cache-size=1.5M"], want: { maxBytes: 1_500_000 } },
  { argv: ["--cache-size=0"], want: { maxBytes: 0 } },
  { argv: ["--cache-min-free=0"], want: { minFree: { bytes: 0 } } },
  { argv: ["--cache-min-free=10Gi"], want: { minFree: { bytes: 10 * 2 ** 30 } } },
  { argv: ["--cache-min-free=15%"], want: { minFree: { share: 0.15 } } },
])("reads $argv", ({ argv, want }) => {
  expect(readConfig(argv, {})?.cache).toMatchObject(want);
});

test.each([
  { name: "HF_ENDPOINT", remedy: /HF_TOKEN/ },
  { name: "AWS_ENDPOINT_URL", remedy: /AWS_ACCESS_KEY_ID/ },
  { name: "AWS_ENDPOINT_URL_S3", remedy: /AWS_ACCESS_KEY_ID/ },
  { name: "STORAGE_EMULATOR_HOST", remedy: /alone/ },
  { name: "INFERENCE_ENGINE_ENDPOINT", remedy: /--engine-api-key-file/ },
])("refuses a password in $name, without showing it", ({ name, remedy }) => {
  for (const value of ["http://me:hunter2@host:9", "me:hunter2@host", "http://hunter2@host"]) {
    const read = () => readConfig([], { [name]: value });
    expect(read).toThrow(remedy);
    expect(read).not.toThrow(/hunter2/);
  }
});

test("lets a proxy have a password, and never shows it", () => {
  expect(readConfig([], { HTTPS_PROXY: "http://me:hunter2@proxy:3128" })).toBeDefined();
  const read = () => readConfig([], { http_proxy: "me:hunter2@proxy:port" });
  expect(read).toThrow(/http_proxy is no URL/);
  expect(read).not.toThrow(/hunter2/);
});

test("a pod's folder is the flag's, or the pod's uid", () => {
  expect(readConfig([], { POD_UID: "uid" })?.podFolder).toBe("uid");
  expect(readConfig(["--pod-folder=mine"], { POD_UID: "uid" })?.podFolder).toBe("mine");
  expect(readConfig([], { POD_UID: "" })?.podFolder).toBeUndefined();
});

test("reads times and rates with their units", () => {
  const config = readConfig(["--download-timeout=90m", "--download-rate-limit=1.5Mi"], {});
  expect(config?.transfer).toEqual({ timeoutMs: 5_400_000, bytesPerSecond: 1_572_864 });
});

test.each([
  "--download-timeout=90",
  "--download-timeout=0s",
  "--download-timeout=8d",
  "--download-rate-limit=1",
  "--download-rate-limit=fast",
])("refuses %s and says what to write", (flag) => {
  expect(() => readConfig([flag], {})).toThrow(`${flag}: write`);
});

test("names everything that cannot be used, at once", () => {
  const read = () => readConfig(["--port=x", "--pod-label=a"], { INFERENCE_ENGINE: "sglang", INFERENCE_ENGINE_ENDPOINT: "localhost:8000" });
  for (const says of [
    "--port=x",
    "--pod-label=a: write KEY=VALUE",
    "INFERENCE_ENGINE=sglang: no such engine is supported; write vllm",
    "INFERENCE_ENGINE_ENDPOINT=localhost:8000",
  ])
    expect(read).toThrow(says);
});

test("takes what artifacts may come from by flag or by environment, the flag first", () => {
  const env = { AIBRIX_ALLOW_ARTIFACT_HOSTS: "127.0.0.1" };
  expect(readConfig([], env)).toMatchObject({ allowedHosts: { hosts: ["127.0.0.1"] } });
  expect(readConfig(["--allow-artifact-hosts=*.internal"], env)).toMatchObject({ allowedHosts: { hosts: ["*.internal"] } });
  expect(() => readConfig(["--allow-artifact-hosts=http://x"], {})).toThrow('"http://x" is no host');
});

test.each([
  "--nope",
  "--port=70000",
  "--cache-size=lots",
  "--cache-size=-1",
  "--cache-min-free=101%",
  "--pod-folder=../other",
  "--pod-folder=.cache",
  "--pod-folder=a/b",
])("refuses %s", (flag) => {
  expect(() => readConfig([flag], {})).toThrow(flag.split("=")[0]);
});

test.each(["http://localhost:8080", "http://127.0.0.1:8080/"])("refuses %s as the engine of a runtime on port 8080", (url) => {
  expect(() => readConfig([], { INFERENCE_ENGINE_ENDPOINT: url })).toThrow("port of this program itself");
  expect(readConfig(["--port=8081"], { INFERENCE_ENGINE_ENDPOINT: url })).toMatchObject({ engineEndpoint: url });
});

test("help names every flag and variable", () => {
  expect(readConfig(["--help"], {})).toBeUndefined();
  for (const word of [
    "--port",
    "--artifacts-dir",
    "--adapters-dir",
    "--pod-folder",
    "POD_UID",
    "--cache-size",
    "--cache-min-free",
    "--pod-label",
    "INFERENCE_ENGINE_ENDPOINT",
    "HF_TOKEN",
  ])
    expect(help()).toContain(word);
});

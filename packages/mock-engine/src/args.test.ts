import { describe, expect, test } from "vitest";
import { parseCommand } from "./args.ts";

type Run = Extract<ReturnType<typeof parseCommand>, { kind: "run" }>;

function run(argv: string, env: NodeJS.ProcessEnv = {}): Run {
  const command = parseCommand(argv === "" ? [] : argv.split(" "), env);
  if (command.kind !== "run") throw new Error(`not a run: ${JSON.stringify(command)}`);
  return command;
}

describe("parseCommand", () => {
  test("nothing said: vLLM's defaults are left to the engine", () => {
    expect(run("")).toEqual({
      kind: "run",
      host: "0.0.0.0",
      port: 8000,
      startupDelayMs: 0,
      options: { logLevel: "info", apiKeys: [], allowRuntimeLoraUpdating: false, hub: { offline: false }, settings: {} },
      ignored: [],
    });
  });

  test("vLLM's flags, with equals signs and underscores too", () => {
    const argv =
      "--model m --served-model-name one two --host=::1 --port 0 --enable-lora --max_loras 2 --max-cpu-loras=3 --max-lora-rank 8 --max-model-len 256 --max-num-seqs 4";
    expect(run(argv)).toMatchObject({
      host: "::1",
      port: 0,
      options: {
        model: "m",
        servedModelNames: ["one", "two"],
        enableLora: true,
        maxLoras: 2,
        maxCpuLoras: 3,
        maxLoraRank: 8,
        maxModelLen: 256,
        maxNumSeqs: 4,
      },
    });
  });

  test("the model as a bare word", () => {
    expect(run("some/model --enable-lora").options.model).toBe("some/model");
  });

  test("static adapters in both forms", () => {
    const command = parseCommand(["--lora-modules", "a=/x=y", '{"name":"b","path":"/b","base_model_name":"base"}'], {});
    expect(command).toMatchObject({
      options: {
        loraModules: [
          { name: "a", path: "/x=y" },
          { name: "b", path: "/b", baseModelName: "base" },
        ],
      },
    });
  });

  test("this engine's own flags", () => {
    const argv =
      "--mock-startup-delay-ms 5 --mock-load-delay-ms 6 --mock-token-delay-ms 7 --mock-crash-on-load bad --mock-error-shape=flat";
    expect(run(argv)).toMatchObject({
      startupDelayMs: 5,
      options: { settings: { loadDelayMs: 6, tokenDelayMs: 7, crashOnLoad: "bad", errorShape: "flat" } },
    });
  });

  test("other flags of vLLM are told, not taken", () => {
    expect(run("--gpu-memory-utilization 0.9 --enforce-eager -tp 2 --port 1").ignored).toEqual([
      "--gpu-memory-utilization",
      "--enforce-eager",
      "-tp",
    ]);
  });

  test.each([
    { name: "no key", argv: "", env: {}, want: [] },
    { name: "the variable", argv: "", env: { VLLM_API_KEY: "env" }, want: ["env"] },
    { name: "flags win over the variable", argv: "--api-key one two", env: { VLLM_API_KEY: "env" }, want: ["one", "two"] },
    { name: "an empty variable is no key", argv: "", env: { VLLM_API_KEY: "" }, want: [] },
  ])("keys: $name", ({ argv, env, want }) => {
    expect(run(argv, env).options.apiKeys).toEqual(want);
  });

  test.each([
    ["1", true],
    ["True", true],
    ["TRUE", true],
    ["0", false],
    ["yes", false],
  ])("VLLM_ALLOW_RUNTIME_LORA_UPDATING=%s: %s", (value, want) => {
    expect(run("", { VLLM_ALLOW_RUNTIME_LORA_UPDATING: value }).options.allowRuntimeLoraUpdating).toBe(want);
  });

  test("the hub's variables", () => {
    const env = { HF_ENDPOINT: "http://hub", HF_TOKEN: "t", HF_HOME: "/h", HF_HUB_OFFLINE: "1" };
    expect(run("", env).options.hub).toEqual({ endpoint: "http://hub", token: "t", home: "/h", offline: true });
  });

  test.each([
    ["--port", "argument --port: expected one argument"],
    ["--port x", "argument --port: invalid int value: 'x'"],
    ["--max-loras -1", "argument --max-loras: invalid int value: '-1'"],
    ["--served-model-name", "argument --served-model-name: expected at least one argument"],
    ["--lora-modules name,path", "Invalid JSON format for --lora-modules: name,path"],
    ["--lora-modules {}", "Invalid fields for --lora-modules: {} - name and path are needed"],
    ["--mock-error-shape round", "argument --mock-error-shape: invalid choice: 'round' (choose nested or flat)"],
    ["--mock-token-delay 5", "unrecognized arguments: --mock-token-delay"],
    ["one two", "unrecognized arguments: one two"],
  ])("%s is an error", (argv, message) => {
    expect(parseCommand(argv.split(" "), {})).toEqual({ kind: "error", message });
  });

  test.each(["--help", "-h", "--port 1 --help"])("%s", (argv) => {
    expect(parseCommand(argv.split(" "), {})).toEqual({ kind: "help" });
  });
});

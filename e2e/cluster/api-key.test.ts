// An engine that wants an API key: the adapter brings it for the controller, clients bring it for themselves.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ENGINE, ROOT } from "../support/cli.ts";
import { ask, complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform } from "../support/platform.ts";
import { weightsOf } from "../support/weights.ts";

const NAME = "qwen-code-lora-with-key";
const SAMPLE = parse(readFileSync(join(ROOT, "samples/adapter/adapter-with-key.yaml"), "utf8")) as {
  spec: { additionalConfig: { "api-key": string }; podSelector: { matchLabels: Record<string, string> } };
};
const KEY = SAMPLE.spec.additionalConfig["api-key"];

describe("an engine with an API key", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base-with-key.yaml", "samples/adapter/adapter-with-key.yaml");
    await platform.rolledOut(BASE_MODEL);
    await platform.condition(NAME);
  });
  afterAll(() => platform?.clear());

  test("the adapter answers to the printed command with the key", async () => {
    const text = await platform.shell(`curl -v http://\${ENDPOINT}/v1/completions \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer ${KEY}" \\
    -d '{
        "model": "qwen-code-lora-with-key",
        "prompt": "San Francisco is a",
        "max_tokens": 128,
        "temperature": 0
    }'`);
    expect((JSON.parse(text) as { model: string }).model).toBe(NAME);
    if (ENGINE === "mock")
      expect((await ask(platform.gateway, NAME, KEY)).digest).toBe(await weightsOf("ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora"));
  });

  test("a client without the key, or with another one, gets the engine's 401", async () => {
    expect((await complete(platform.gateway, NAME)).status).toBe(401);
    expect((await complete(platform.gateway, NAME, "sk-another")).status).toBe(401);
    expect((await complete(platform.gateway, BASE_MODEL)).status).toBe(401);
    expect((await complete(platform.gateway, BASE_MODEL, KEY)).status).toBe(200);
  });

  test("an adapter without the key is not Ready, and its condition says what to set", async () => {
    await platform.apply("samples/adapter/adapter.yaml");
    expect(await platform.reason("qwen-code-lora", "EngineUnauthorized")).toMatch(
      /wants an API key.*(apiKeySecretRef|additionalConfig\.api-key)/,
    );
    await platform.kubectl("delete", "modeladapter", "qwen-code-lora", "--wait", "--timeout=60s");
  });

  test("apiKeySecretRef gives it without plain text, and the key is in no status, event or log of ours", async () => {
    await platform.applyObjects(
      { apiVersion: "v1", kind: "Secret", metadata: { name: "engine-key" }, stringData: { key: KEY } },
      {
        apiVersion: "model.aibrix.ai/v1alpha1",
        kind: "ModelAdapter",
        metadata: { name: "by-secret" },
        spec: {
          podSelector: SAMPLE.spec.podSelector,
          artifactURL: "hf://acme/sql-lora",
          apiKeySecretRef: { name: "engine-key", key: "key" },
        },
      },
    );
    await platform.condition("by-secret");
    expect((await complete(platform.gateway, "by-secret", KEY)).status).toBe(200);
    const [pod] = await platform.pods(BASE_MODEL);
    const said = await Promise.all([
      platform.kubectl("get", "modeladapter", "by-secret", "-o", "yaml"),
      platform.kubectl("get", "events", "-o", "yaml"),
      platform.kubectl("logs", "deployment/aibrix-controller-manager", "-n", "aibrix-system"),
      platform.kubectl("logs", "deployment/aibrix-gateway-plugins", "-n", "aibrix-system"),
      platform.kubectl("logs", pod?.metadata.name ?? "", "-c", "aibrix-runtime"),
    ]);
    for (const text of said) {
      expect(text).not.toBe("");
      expect(text).not.toContain(KEY);
    }
  });
});

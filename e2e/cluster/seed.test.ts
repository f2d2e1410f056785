// The documented walk-through, word for word: a base model, an adapter, what kubectl shows of it, requests by name, and its end.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE, ROOT } from "../support/cli.ts";
import { ask, complete, errorOf, models } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { printedRequest } from "../support/walk-through.ts";
import { weightsOf } from "../support/weights.ts";

const NAME = "qwen-code-lora";

test.each([
  { file: "adapter/base.yaml", sha256: "c22064101009ddbe7c9fbfe4730d76d01dd2108d2feb0bc35647188d895ac06c" },
  { file: "adapter/adapter.yaml", sha256: "0921aacbce9d367b679e4c84c7760889b34db287b17c5377206e579e2ac04893" },
  { file: "adapter/adapter-with-key.yaml", sha256: "790d95b91a35a82322501d581a293fc6af84e44d25e2ec6434e4ac8717d221a4" },
])("samples/$file is the documented manifest, word for word", ({ file, sha256 }) => {
  const lines = readFileSync(join(ROOT, "samples", file), "utf8").split("\n");
  const text = lines.map((line) => line.trimEnd()).filter((line) => line !== "" && !/^#/.test(line));
  expect(createHash("sha256").update(text.join("\n")).digest("hex")).toBe(sha256);
});

describe("the walk-through", () => {
  let platform: Platform;
  let pod: string;

  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml");
    await platform.rolledOut(BASE_MODEL);
    pod = (await platform.pods(BASE_MODEL))[0]?.metadata.name ?? "";
  });
  afterAll(() => platform?.clear());

  test("what the cluster has is the documented manifest, its images' names too", async () => {
    // It prints and fails where anything that is written there differs.
    expect(await platform.kubectl("diff", "-f", join(ROOT, "samples/adapter/base.yaml"))).toBe("");
    const images = (await platform.pods(BASE_MODEL))[0]?.spec.containers.map(({ image }) => image);
    expect(images).toEqual(["vllm/vllm-openai:v0.7.1", "aibrix/runtime:v0.2.1"]);
  });

  test("the base model answers to the printed command", async () => {
    const answer = await vi.waitFor(
      async () => {
        const text = await platform.shell(platform.expose + printedRequest(BASE_MODEL));
        const parsed = JSON.parse(text) as { model: string; choices: readonly { text: string }[] };
        expect(parsed.model).toBe(BASE_MODEL);
        return parsed;
      },
      { timeout: READY_MS, interval: 250 },
    );
    if (ENGINE === "mock") expect(answer.choices[0]?.text).toContain(`[${BASE_MODEL} base]`);
  });

  test("kubectl describe modeladapter reads as printed, once it is Ready", async () => {
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition(NAME);
    expect(await platform.kubectl("diff", "-f", join(ROOT, "samples/adapter/adapter.yaml"))).toBe("");
    const described = await platform.kubectl("describe", "modeladapter", NAME);
    const text = described.slice(described.indexOf("Status:")).replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, "TIME");
    expect(text).toContain(`  Conditions:
    Last Transition Time:  TIME
    Message:               Starting reconciliation
    Reason:                ModelAdapterPending
    Status:                Unknown
    Type:                  Initialized
    Last Transition Time:  TIME
    Message:               ModelAdapter default/qwen-code-lora has been allocated to pod default/${pod}
    Reason:                Scheduled
    Status:                True
    Type:                  Scheduled
    Last Transition Time:  TIME
    Message:               ModelAdapter default/qwen-code-lora is ready
    Reason:                ModelAdapterAvailable
    Status:                True
    Type:                  Ready
`);
    expect(text).toMatch(new RegExp(`  Instances:\\n    ${pod}\\n`));
    expect(text).toMatch(/ {2}Phase: +Running\n/);
  });

  test("the adapter answers to the printed command at once, from its own weights", async () => {
    const text = await platform.shell(platform.expose + printedRequest(NAME));
    const answer = JSON.parse(text) as { model: string; choices: readonly { text: string }[] };
    expect(answer.model).toBe(NAME);
    expect(answer.choices[0]?.text).not.toBe((await complete(platform.gateway, BASE_MODEL)).text);
    if (ENGINE === "mock") {
      const digest = await weightsOf("ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora");
      for (let i = 0; i < 10; i++) expect(await ask(platform.gateway, NAME)).toMatchObject({ model: NAME, digest, consistent: true });
    }
    expect([...(await models(platform.gateway))].sort()).toEqual([NAME, BASE_MODEL].sort());
  });

  test("a Service of the adapter's name leads to the pod that serves it", async () => {
    const service = await platform.json<{ spec: unknown }>("get", "service", NAME);
    expect(service.spec).toMatchObject({ clusterIP: "None", ports: [{ port: 8000 }] });
    expect(service.spec).not.toHaveProperty("selector");
    const ip = (await platform.pods(BASE_MODEL))[0]?.status.podIP;
    expect(await platform.addresses(NAME)).toEqual([ip]);
    expect(await platform.kubectl("get", "events", "--field-selector", `involvedObject.name=${NAME}`)).toMatch(/Scheduled[\s\S]*Loaded/);
  });

  test("once it is deleted its name is unknown, the engine has unloaded it, and its Service is gone", async () => {
    await platform.kubectl("delete", "modeladapter", NAME, "--wait", "--timeout=60s");
    await vi.waitFor(
      async () => {
        const answer = await complete(platform.gateway, NAME);
        expect(answer.status).toBe(404);
        expect(errorOf(answer).code).toBe("model_not_found");
      },
      { timeout: 30_000, interval: 100 },
    );
    const { data } = await platform.podGet<{ data: readonly { id: string }[] }>(pod, 8000, "/v1/models");
    expect(data.map((m) => m.id)).toEqual([BASE_MODEL]);
    expect(await platform.refused("get", "service", NAME)).toContain("NotFound");
    expect(await platform.addresses(NAME)).toEqual([]);
    expect((await complete(platform.gateway, BASE_MODEL)).status).toBe(200);
  });
});

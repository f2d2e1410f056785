// Where adapters come from in a cluster, and who can see their files. Every sample is applied as it stands.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ask, complete, errorOf } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform } from "../support/platform.ts";
import { weightsOf } from "../support/weights.ts";

describe("the documented Deployment, whose containers share no volume", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml");
    await platform.rolledOut(BASE_MODEL);
  });
  afterAll(() => platform?.clear());

  test("huggingface:// is passed to the engine, and the status says what that means", async () => {
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition("qwen-code-lora");
    const { status } = await platform.adapter("qwen-code-lora");
    expect(status?.pods).toMatchObject([{ state: "Serving", delivery: "Engine", note: expect.stringMatching(/The engine downloads/) }]);
  });

  test("s3:// is refused, and the condition names the volume that is missing", async () => {
    await platform.applyObjects(adapter("by-s3", "s3://models/adapters/sql-lora"));
    expect(await platform.reason("by-s3", "VolumeMissing")).toMatch(/volume.*\/tmp\/aibrix\/adapters/);
    const answer = await complete(platform.gateway, "by-s3");
    expect(answer.status).toBe(503);
    expect(errorOf(answer).code).toBe("model_not_ready");
  });

  test("an artifact that does not exist is told in the condition, and the other adapter goes on", async () => {
    await platform.applyObjects(adapter("nothing", "hf://acme/nothing"));
    expect(await platform.reason("nothing", "ArtifactNotFound")).toMatch(/acme\/nothing/);
    expect((await complete(platform.gateway, "qwen-code-lora")).status).toBe(200);
  });

  test.each([
    { name: "another scheme", object: adapter("by-ftp", "ftp://x/y"), says: /write huggingface:\/\/.*s3:\/\// },
    { name: "a dot in the name", object: adapter("a.b", "/a"), says: /lower-case letters, digits and '-'/ },
    { name: "no replica", object: adapter("none", "/a", { replicas: 0 }), says: /replicas must be 1 or more/ },
    { name: "an empty selector", object: adapter("all", "/a", { podSelector: {} }), says: /podSelector is empty/ },
  ])("an adapter with $name is refused when it is applied", async ({ object, says }) => {
    expect(await platform.refusal(object)).toMatch(says);
  });
});

describe("samples", () => {
  let platform: Platform;
  beforeAll(() => {
    platform = Platform.get();
  });
  afterEach(() => platform?.clear());

  test("samples/s3: s3:// through a shared volume, with credentials from a Secret", async () => {
    await platform.apply("samples/s3");
    await platform.condition("sql-lora-s3");
    if (ENGINE === "mock") expect((await ask(platform.gateway, "sql-lora-s3")).digest).toBe(await weightsOf("acme/sql-lora"));
    const { status } = await platform.adapter("sql-lora-s3");
    expect(status?.pods).toMatchObject([{ state: "Serving", delivery: "Volume", contentDigest: expect.stringMatching(/[0-9a-f]{12}/) }]);
    // Another Secret that the storage refuses.
    const { data } = await platform.json<{ data: Record<string, string> }>("get", "secret", "s3-credentials");
    const wrong = { ...data, aws_secret_access_key: Buffer.from("not-the-secret").toString("base64") };
    const { spec } = await platform.json<{ spec: object }>("get", "modeladapter", "sql-lora-s3");
    await platform.applyObjects(
      { apiVersion: "v1", kind: "Secret", metadata: { name: "wrong" }, data: wrong },
      {
        apiVersion: "model.aibrix.ai/v1alpha1",
        kind: "ModelAdapter",
        metadata: { name: "denied" },
        spec: { ...spec, credentialsSecretRef: { name: "wrong" } },
      },
    );
    expect(await platform.reason("denied", "ArtifactDenied")).not.toContain("not-the-secret");
    expect((await complete(platform.gateway, "sql-lora-s3")).status).toBe(200);
  });

  test("samples/shared-path: an absolute path, read in place", async () => {
    await platform.apply("samples/shared-path");
    await platform.condition("qwen-code-lora-shared");
    expect((await complete(platform.gateway, "qwen-code-lora-shared")).status).toBe(200);
  });

  test("samples/direct: an engine without sidecar", async () => {
    await platform.apply("samples/direct");
    await platform.condition("qwen-code-lora-direct");
    expect((await complete(platform.gateway, "qwen-code-lora-direct")).status).toBe(200);
    expect((await platform.adapter("qwen-code-lora-direct")).status?.pods).toMatchObject([{ state: "Serving", asked: true }]);
  });
});

function adapter(name: string, artifactURL: string, spec: object = {}): object {
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name },
    spec: { baseModel: BASE_MODEL, podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL, ...spec },
  };
}

// What users get wrong. Each case has a message that names the cause and the remedy, and takes nothing else down.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrokenAdapterKind, writeAdapter, writeBrokenAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cli, ENGINE } from "../support/cli.ts";
import { ask, complete, errorOf, post } from "../support/client.ts";
import { dropManifest, manifest } from "../support/manifest.ts";
import { newFolder, type Stack, startStack } from "../support/stack.ts";
import { adapterState, manifestProblem } from "../support/states.ts";

describe.skipIf(ENGINE === "vllm")("bad input", () => {
  let stack: Stack;
  let artifacts: string;

  beforeAll(async () => {
    const folder = newFolder();
    artifacts = join(folder, "artifacts");
    mkdirSync(artifacts);
    await writeAdapter(join(artifacts, "good"), { seed: 9 });
    const manifests = { "good.yaml": manifest("good", join(artifacts, "good")), "ftp.yaml": manifest("by-ftp", "ftp://files/lora") };
    stack = await startStack({ folder, manifests });
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  /** Whatever was dropped before: what is good is still served. */
  const goesOn = async () => expect((await ask(stack.gateway, "good")).consistent).toBe(true);

  test("start succeeds all the same, and warns", async () => {
    expect(stack.output).toMatch(/^warning: ftp\.yaml \(by-ftp\): .*artifactURL is of no known kind: write huggingface:\/\/.*s3:\/\//m);
    await goesOn();
  });

  test.each([
    {
      name: "nowhere on the Hub",
      url: "huggingface://acme/nothing",
      reason: "ArtifactNotFound",
      says: /acme\/nothing.*(does not exist|not found|no )/i,
    },
    { name: "no such revision", url: "huggingface://acme/sql-lora@v9", reason: "ArtifactNotFound", says: /v9/ },
    { name: "no such path", url: "/does/not/exist", reason: "ArtifactNotFound", says: /\/does\/not\/exist/ },
  ])("an artifact that does not exist: $name", async ({ name, url, reason, says }) => {
    const adapter = name.replaceAll(" ", "-").toLowerCase();
    dropManifest(stack.adapters, `${adapter}.yaml`, manifest(adapter, url));
    const state = await adapterState(stack, adapter, (a) => a.state === "Failed");
    expect(state).toMatchObject({ reason, message: expect.stringMatching(says), serving: null });
    await goesOn();
  });

  test.each<{ kind: BrokenAdapterKind; reason: string; says: RegExp }>([
    { kind: "truncated", reason: "ArtifactInvalid", says: /truncated|shorter|ends|bytes/ },
    { kind: "empty", reason: "ArtifactInvalid", says: /adapter_config\.json/ },
    { kind: "rank16", reason: "ArtifactUnfit", says: /rank 16.*--max-lora-rank 16/ },
    { kind: "wrong-base", reason: "ArtifactUnfit", says: /base model/ },
    { kind: "broken-config", reason: "ArtifactInvalid", says: /adapter_config\.json/ },
    { kind: "only-bin", reason: "ArtifactInvalid", says: /safetensors/ },
  ])("an artifact that is $kind", async ({ kind, reason, says }) => {
    await writeBrokenAdapter(join(artifacts, kind), kind);
    dropManifest(stack.adapters, `${kind}.yaml`, manifest(kind, join(artifacts, kind)));
    const state = await adapterState(stack, kind, (a) => a.state === "Failed");
    expect(state).toMatchObject({ reason, message: expect.stringMatching(says), serving: null });
    await goesOn();
  });

  test("a truncated artifact of the Hub", async () => {
    await writeBrokenAdapter(stack.hubRepo("acme/cut"), "truncated");
    dropManifest(stack.adapters, "cut.yaml", manifest("cut", "hf://acme/cut"));
    const state = await adapterState(stack, "cut", (a) => a.state === "Failed");
    expect(state).toMatchObject({ reason: "ArtifactInvalid", serving: null });
    await goesOn();
  });

  test("two manifests of one name: the first goes on, the second is told which", async () => {
    dropManifest(stack.adapters, "twin.yaml", manifest("good", "hf://acme/sql-lora"));
    const problem = await manifestProblem(stack, "twin.yaml");
    expect(problem).toMatch(/good\.yaml.*rename or delete/);
    expect((await ask(stack.gateway, "good")).digest).not.toBe(await stack.digest("acme/sql-lora"));
    await goesOn();
  });

  test.each([
    {
      name: "broken YAML",
      text: "apiVersion: model.aibrix.ai/v1alpha1\nkind: [ModelAdapter\n",
      says: /line \d+, column \d+.*mend the YAML/,
    },
    { name: "another kind of object", text: "just text", says: /not a manifest; write an object with apiVersion/ },
    {
      name: "a field that is none",
      text: manifest("typo", "/a", { podSelecter: {} }),
      says: /podSelecter.*(remove it or mend its spelling)/,
    },
    { name: "a dot in the name", text: manifest("a.b", "/a"), says: /metadata\.name/ },
    {
      name: "a selector of no engine",
      text: manifest("lost", "/a", { podSelector: { matchLabels: { "model.aibrix.ai/name": "other" } } }),
      says: /^podSelector \{model\.aibrix\.ai\/name: other\} .*\(model\.aibrix\.ai\/name: qwen-coder-1-5b-instruct\): write the name of a base model/,
    },
  ])("a manifest with $name", async ({ name, text, says }) => {
    const file = `${name.replaceAll(" ", "-").toLowerCase()}.yaml`;
    dropManifest(stack.adapters, file, text);
    const problem = await manifestProblem(stack, file);
    expect(problem).toMatch(says);
    await goesOn();
  });

  test("status shows all of it", async () => {
    const { output } = await cli(["status", "--dir", stack.dir]);
    expect(output).toMatch(/^good +engine-1 +Serving/m);
    expect(output).toMatch(/^rank16 +engine-1 +Failed +ArtifactUnfit: .*--max-lora-rank/m);
    expect(output).toMatch(/^PROBLEMS$/m);
    expect(output).toMatch(/broken-yaml\.yaml: line/);
    expect(output).toMatch(
      /a-selector-of-no-engine\.yaml \(lost\): podSelector .*: other\} does not match .*: write the name of a base model/,
    );
  });

  test("an unknown model is a 404 that names it", async () => {
    const answer = await complete(stack.gateway, "nobody");
    expect(answer.status).toBe(404);
    expect(errorOf(answer)).toMatchObject({ code: "model_not_found", message: expect.stringContaining("nobody") });
  });

  test("an adapter that is declared but not served is a 503 with its cause, not a 404", async () => {
    const answer = await complete(stack.gateway, "rank16");
    expect(answer.status).toBe(503);
    expect(errorOf(answer)).toMatchObject({
      code: "model_not_ready",
      message: expect.stringContaining("the adapter does not fit the engine"),
    });
  });

  test.each([
    { name: "broken off", body: '{"model": "good", "prompt": "San' },
    { name: "without a model", body: '{"prompt": "San Francisco is a"}' },
    { name: "with a model that is no string", body: '{"model": 7}' },
    { name: "empty", body: "" },
  ])("a body that is $name is a 400 in OpenAI's shape", async ({ body }) => {
    const answer = await post(stack.gateway, body);
    expect(answer.status, answer.body).toBe(400);
    expect(errorOf(answer).message).toMatch(/\w+ .*\w/);
    await goesOn();
  });
});

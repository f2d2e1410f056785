// Adapters come from a Hub, from S3 compatible storage, and from a path; the samples work as they stand but for addresses.
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE, ROOT } from "../support/cli.ts";
import { ask } from "../support/client.ts";
import { BASE_MODEL, dropManifest, manifest } from "../support/manifest.ts";
import { type Stack, startStack } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";

const SERVED_MS = 30_000;

/** A sample with other words in the place of its own, each of which must be there. */
function replaced(sample: string, words: Readonly<Record<string, string>>): string {
  return Object.entries(words).reduce((text, [from, to]) => {
    expect(text).toContain(from);
    return text.replaceAll(from, to);
  }, sample);
}

/** samples/s3 for the storage and the base model of this stack. */
function s3Sample(s3: { readonly endpoint: string; readonly accessKeyId: string; readonly secretAccessKey: string }): string {
  return replaced(readFileSync(join(ROOT, "samples/s3/adapter.yaml"), "utf8"), {
    "http://s3.aibrix-dev.svc.cluster.local:7070": s3.endpoint,
    ": aibrix-dev\n": `: ${s3.accessKeyId}\n`,
    ": public-for-development\n": `: ${s3.secretAccessKey}\n`,
    "qwen-coder-s3": BASE_MODEL,
  });
}

describe.skipIf(ENGINE === "vllm")("sources of adapters", () => {
  let stack: Stack;
  beforeAll(async () => {
    const manifests = {
      "hub.yaml": manifest("from-hub", "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora"),
      "s3.yaml": manifest("from-s3", "s3://models/adapters/sql-lora"),
    };
    stack = await startStack({ manifests, args: ["--s3"] });
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  async function served(name: string, repo: string): Promise<void> {
    await vi.waitFor(async () => expect(await ask(stack.gateway, name)).toMatchObject({ model: name, digest: await stack.digest(repo) }), {
      timeout: SERVED_MS,
      interval: 50,
    });
  }

  test("huggingface:// from the Hub", () => served("from-hub", "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora"));

  test("s3:// with the credentials of the runtime's environment", () => served("from-s3", "acme/sql-lora"));

  test("a second start in the same state folder finds its bucket again", async () => {
    await stack.stop();
    stack = await startStack({ folder: stack.folder, args: ["--s3"] });
    await served("from-s3", "acme/sql-lora");
  });

  test("samples/s3: s3:// with the credentials of a Secret beside it", async () => {
    const { endpoint, accessKeyId, secretAccessKey } = stack.file.s3 ?? { endpoint: "", accessKeyId: "", secretAccessKey: "" };
    dropManifest(stack.adapters, "sample-s3.yaml", s3Sample({ endpoint, accessKeyId, secretAccessKey }));
    await served("sql-lora-s3", "acme/sql-lora");
  });

  test("a wrong secret is refused by the storage, and the state says so without repeating it", async () => {
    const { endpoint = "", accessKeyId = "" } = stack.file.s3 ?? {};
    const sample = s3Sample({ endpoint, accessKeyId, secretAccessKey: "not-the-secret" });
    dropManifest(stack.adapters, "denied.yaml", sample.replaceAll("s3-credentials", "wrong").replace("sql-lora-s3\n", "denied\n"));
    const state = await adapterState(stack, "denied", (a) => a.state === "Failed");
    expect(state.reason).toBe("ArtifactDenied");
    expect(JSON.stringify(state)).not.toContain("not-the-secret");
  });

  test("samples/shared-path: an absolute path, read in place", async () => {
    const shared = join(stack.folder, "shared/sql-lora");
    cpSync(stack.hubRepo("acme/sql-lora"), shared, { recursive: true });
    const sample = replaced(readFileSync(join(ROOT, "samples/shared-path/adapter.yaml"), "utf8"), {
      "/models/ai-blond/qwen-code-lora": shared,
      "qwen-coder-shared-path": BASE_MODEL,
    });
    dropManifest(stack.adapters, "sample-path.yaml", sample);
    await served("qwen-code-lora-shared", "acme/sql-lora");
  });
});

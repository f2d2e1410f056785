// The documented edit of the controller's Deployment: without --enable-runtime-sidecar it talks to the engines itself.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { complete } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { Platform } from "../support/platform.ts";

const MANAGER = "aibrix-controller-manager";
const FLAG = "--enable-runtime-sidecar";

describe("without the runtime sidecar", () => {
  let platform: Platform;

  /** The documented command, with an editor that types by itself. */
  async function edit(editor: string): Promise<void> {
    await platform.shell(`export KUBE_EDITOR='${editor}'\nkubectl edit deployment ${MANAGER} -n aibrix-system`);
    await platform.rolledOut(MANAGER, "aibrix-system");
  }

  beforeAll(async () => {
    platform = Platform.get();
    await platform.apply("samples/adapter/base.yaml");
    await platform.rolledOut(BASE_MODEL);
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition("qwen-code-lora");
  });
  afterEach(() => edit(`sed -i "s/^\\( *\\)- --leader-elect$/\\1- --leader-elect\\n\\1- ${FLAG}/"`));
  afterAll(() => platform?.clear());

  test("an adapter that is there goes on, a new one is loaded by calls to the engine, and s3:// says what is missing", async () => {
    expect((await complete(platform.gateway, "qwen-code-lora")).status).toBe(200);
    await edit(`sed -i /${FLAG}/d`);
    await platform.applyObjects(adapter("direct-lora", "hf://acme/sql-lora"), adapter("by-s3", "s3://models/adapters/sql-lora"));
    await platform.condition("direct-lora");
    expect((await complete(platform.gateway, "direct-lora")).status).toBe(200);
    const { status } = await platform.adapter("direct-lora");
    expect(status?.pods).toMatchObject([{ state: "Serving", asked: true }]);
    const [pod] = await platform.pods(BASE_MODEL);
    const { adapters } = await platform.podGet<{ adapters: readonly { lora_name: string }[] }>(
      pod?.metadata.name ?? "",
      8080,
      "/v1/lora_adapters",
    );
    expect(adapters.map((a) => a.lora_name)).not.toContain("direct-lora");
    expect(await platform.reason("by-s3", "VolumeMissing")).toMatch(/s3:\/\//);
    // The one from before the edit.
    await platform.condition("qwen-code-lora");
    expect((await complete(platform.gateway, "qwen-code-lora")).status).toBe(200);
    await platform.kubectl("delete", "modeladapter", "direct-lora", "by-s3", "--wait", "--timeout=60s");
    const { data } = await platform.podGet<{ data: readonly { id: string }[] }>(pod?.metadata.name ?? "", 8000, "/v1/models");
    expect(data.map((m) => m.id)).not.toContain("direct-lora");
  });
});

function adapter(name: string, artifactURL: string): object {
  return {
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name },
    spec: { baseModel: BASE_MODEL, podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL },
  };
}

// A user deletes a namespace with everything in it at once: it ends, and nothing of its adapter is left.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { ENGINE, ROOT } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { Platform, READY_MS } from "../support/platform.ts";

const NAMESPACE = "team-that-leaves";
const NAME = "qwen-code-lora";
const SYSTEM = "aibrix-system";

describe.skipIf(ENGINE === "vllm")("a namespace that is deleted with its base model and its adapter", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = Platform.get();
    await platform.applyObjects({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
    await platform.applyObjects(...moved("samples/adapter/base.yaml"), ...moved("samples/adapter/adapter.yaml"));
    await platform.kubectl("wait", "--for=condition=Ready", `modeladapter/${NAME}`, "-n", NAMESPACE, `--timeout=${READY_MS / 1000}s`);
  });
  afterAll(() => platform?.clear());

  test("it ends clean while the controller runs, and then the name is unknown", async () => {
    expect((await complete(platform.gateway, NAME)).status).toBe(200);
    const before = await controllers(platform);
    await platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false");
    // No finalizer holds it.
    await platform.kubectl("wait", "--for=delete", `namespace/${NAMESPACE}`, `--timeout=${READY_MS / 1000}s`);
    expect(await platform.kubectl("get", "modeladapters,services,endpointslices,pods", "-n", NAMESPACE, "-o", "name")).toBe("");
    await vi.waitFor(async () => expect((await complete(platform.gateway, NAME)).status).toBe(404), { timeout: READY_MS, interval: 50 });
    expect(await controllers(platform)).toBe(before);
  });
});

/** A manifest of the repository, in the namespace of this story. */
function moved(file: string): readonly unknown[] {
  return parseAllDocuments(readFileSync(join(ROOT, file), "utf8")).map((document) => {
    const object = document.toJS();
    object.metadata.namespace = NAMESPACE;
    return object;
  });
}

/** The platform's pods with how often their containers were started anew. */
async function controllers(platform: Platform): Promise<string> {
  const columns = "custom-columns=NAME:.metadata.name,RESTARTS:.status.containerStatuses[*].restartCount";
  return await platform.kubectl("get", "pods", "-n", SYSTEM, "--no-headers", "-o", columns);
}

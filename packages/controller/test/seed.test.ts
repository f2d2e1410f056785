import type { Service } from "@aibrix/kube";
import { afterEach, expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { expectDocumentedStatus } from "./support/documented.ts";
import { adapter, BASE, until } from "./support/world.ts";

useWorld();

afterEach(async () => {
  await world.stopControllers();
});

test("the documented manifest, applied unchanged, reads as documented", async () => {
  const pod = await world.pod(`${BASE}-5587f4c57d-kml6s`);
  await world.controller();
  await world.apply("samples/adapter/adapter.yaml");
  await adapters.ready("default/qwen-code-lora");
  await expectDocumentedStatus(world, pod.name);
  const service = await world.get<Service>("Service", "default/qwen-code-lora");
  expect(service?.spec).toMatchObject({ clusterIP: "None", ports: [{ name: "http", port: 8000 }] });
  expect(service?.spec?.selector).toBeUndefined();
  expect(pod.runtime.loads).toEqual([
    {
      lora_name: "qwen-code-lora",
      artifact_url: "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora",
      delivery: { mode: "engine" },
      limits: { max_lora_rank: 16 },
      owner: expect.stringMatching(/^modeladapter\/default\/qwen-code-lora\/./),
    },
  ]);

  // One pod in the services of two adapters.
  await world.applyObject(adapter("second-lora"));
  await adapters.ready("default/second-lora");
  expect(await adapters.addresses("default/qwen-code-lora")).toEqual([pod.ip]);
  expect(await adapters.addresses("default/second-lora")).toEqual([pod.ip]);
  const [slice] = await adapters.slices("default/second-lora");
  expect(slice?.endpoints?.[0]).toMatchObject({ targetRef: { kind: "Pod", name: pod.name }, conditions: { ready: true } });
  expect(await adapters.addresses("aibrix-system/aibrix-engines")).toEqual([pod.ip]);
  await until("the story is told", async () => {
    const told = await adapters.events("default/second-lora");
    return told.includes("Scheduled") && told.includes("Loaded");
  });

  // Gone from the engine, and all that was made for it.
  await adapters.remove("default/qwen-code-lora");
  expect(pod.runtime.serving).toEqual(["second-lora"]);
  expect(await world.get("Service", "default/qwen-code-lora")).toBeUndefined();
  expect(await adapters.slices("default/qwen-code-lora")).toEqual([]);
  await adapters.remove("default/second-lora");
  await world.deletePod(pod);
});

test.each([
  { verb: "get", what: "secrets", may: true },
  { verb: "list", what: "secrets", may: false },
  { verb: "watch", what: "secrets", may: false },
  { verb: "create", what: "pods", may: false },
  { verb: "get", what: "modeladapters.model.aibrix.ai", may: false },
  { verb: "patch", what: "modeladapters.model.aibrix.ai", may: true },
  { verb: "delete", what: "modeladapters.model.aibrix.ai", may: false },
  { verb: "update", what: "deployments.apps", may: false },
])("its service account may $verb $what: $may", async ({ verb, what, may }) => {
  const as = "--as=system:serviceaccount:aibrix-system:aibrix-controller-manager";
  // It exits with 1 for a no, which it prints all the same.
  const answer = await world.kubectl("auth", "can-i", verb, what, "-n", "default", as).catch((e: { stdout: string }) => e.stdout);
  expect(answer.trim()).toBe(may ? "yes" : "no");
});

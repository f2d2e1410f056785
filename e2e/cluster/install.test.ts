// Installed as the guides say, from nothing to the walk-through's answers, uninstalled again, and updated while clients ask.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { complete } from "../support/client.ts";
import { everyObject, nodeProcesses, objectsOf, podProcesses, unexplained } from "../support/inventory.ts";
import { Load } from "../support/load.ts";
import { BASE_MODEL, withRuntime } from "../support/manifest.ts";
import { earlier, imagesOf, printed, putBack, Site, settled } from "../support/overlays.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { printedRequest } from "../support/walk-through.ts";

const NAME = "qwen-code-lora";
const DELETE_ADAPTERS = /^kubectl delete modeladapters/m;
/** One of them holds each pod. */
const SHIM = "containerd-shim-runc-v2";
const DELETE_MANIFESTS = /^kubectl delete -k \. /m;

describe.runIf(Platform.get().expose !== "")("installed as users do", () => {
  let platform: Platform;
  let site: Site;
  /** What the cluster had before anything was installed. */
  let before: readonly string[];
  /** What of it was applied of Envoy Gateway and of the Hub. */
  let lasting: readonly string[];
  let shims: number;
  let work: string;

  beforeAll(async () => {
    platform = Platform.get();
    await uninstall("deploy/overlays/dev");
    // In the place of huggingface.co, from where the walk-through's adapter is downloaded.
    await platform.kubectl("create", "namespace", "aibrix-dev");
    await platform.kubectl("apply", "--server-side", "-f", "deploy/overlays/dev/hub.yaml");
    await platform.rolledOut("hub", "aibrix-dev");
    site = new Site("default");
    work = mkdtempSync(join(tmpdir(), "aibrix-before-"));
  });
  afterAll(async () => {
    await platform?.clear();
    await putBack(platform);
    site?.[Symbol.dispose]();
    rmSync(work, { recursive: true, force: true });
  });

  /** The guide's commands, for the kustomization in a folder. */
  async function uninstall(folder: string): Promise<void> {
    await platform.shell(printed("uninstall", DELETE_ADAPTERS));
    await platform.shell(printed("uninstall", DELETE_MANIFESTS), folder);
  }

  test("before, nothing is there but what Kubernetes, Envoy Gateway and the Hub have", async () => {
    const applied = await objectsOf(platform, join(platform.dir, "cluster/envoy-gateway.yaml"), "deploy/overlays/dev/hub.yaml");
    // This Job is gone half a minute after its end.
    lasting = [...applied, "Namespace <none>/aibrix-dev"].filter((object) => !object.startsWith("Job "));
    await vi.waitFor(async () => expect(unexplained(await everyObject(platform), lasting)).toEqual([]), {
      timeout: READY_MS,
      interval: 500,
    });
    before = await everyObject(platform);
    shims = platform.hasProcesses ? nodeProcesses(platform, SHIM).length : 0;
  });

  test("the guide's commands install it, and its pods are restricted", async () => {
    await platform.shell(printed("install", /^kubectl wait .*Programmed/m), site.dir);
    const answer = await platform.shell(printed("install", /^curl .*v1\/models$/m));
    expect(JSON.parse(answer)).toMatchObject({ object: "list", data: [] });
    expect(unexplained(await everyObject(platform), lasting)).toEqual(
      expect.arrayContaining(["ClusterRole <none>/aibrix-controller-manager", "PriorityClass <none>/aibrix-platform"]),
    );
    const loose = ["run", "loose", "--image=aibrix/gateway-plugins:dev", "-n", "aibrix-system", "--dry-run=server"];
    expect(await platform.refused(...loose)).toContain('violates PodSecurity "restricted');
    expect(await platform.kubectl("get", "networkpolicies", "-n", "aibrix-system", "-o", "name")).toMatch(/manager[\s\S]*plugins/);
  });

  test("the walk-through is answered through the Service of Envoy Gateway", async () => {
    await platform.apply("samples/network-policies/engines.yaml");
    await platform.shell(printed("install", /^kubectl kustomize .*walk-through/m), site.dir);
    await platform.rolledOut(BASE_MODEL);
    const [pod] = await platform.pods(BASE_MODEL);
    expect(pod?.spec.containers.map((c) => c.image)).toContain("aibrix/runtime:dev");
    const ask = async (model: string) => JSON.parse(await platform.shell(platform.expose + printedRequest(model)));
    expect(await vi.waitFor(() => ask(BASE_MODEL), { timeout: READY_MS, interval: 250 })).toMatchObject({ model: BASE_MODEL });
    expect(await ask(NAME)).toMatchObject({ model: NAME, choices: [{ text: expect.stringMatching(/./) }] });
  });

  test("uninstalled as the guide says, it leaves no adapter, object, finalizer or process", async () => {
    const [pod] = await platform.pods(BASE_MODEL);
    await uninstall(site.dir);
    const { data } = await platform.podGet<{ data: readonly { id: string }[] }>(pod?.metadata.name ?? "", 8000, "/v1/models");
    expect(data.map((m) => m.id)).toEqual([BASE_MODEL]);
    const look = printed("uninstall", /^kubectl get namespace/m);
    const lines = (await platform.shell(`{ set +e\n${look}\n} 2>&1 || :`)).trim().split("\n");
    expect(lines.slice(0, 2)).toEqual([expect.stringContaining("NotFound"), expect.stringContaining("NotFound")]);
    expect(
      lines.slice(2).every((line) => new RegExp(`^(service|endpointslice.*)/${BASE_MODEL}(-\\w+)?$`).test(line)),
      lines.join("\n"),
    ).toBe(true);
    await platform.kubectl("delete", "-f", "samples/adapter/base.yaml", "--wait");
    await platform.clear();
    await vi.waitFor(async () => expect(await everyObject(platform)).toEqual(before), { timeout: READY_MS, interval: 500 });
    if (!platform.hasProcesses) return;
    const { items } = await platform.json<{ items: readonly { metadata: { uid: string } }[] }>("get", "pods", "-A");
    const known = items.map((item) => item.metadata.uid);
    await vi.waitFor(
      () => {
        expect([...podProcesses(platform).keys()].filter((uid) => !known.includes(uid))).toEqual([]);
        expect(nodeProcesses(platform, SHIM).length).toBe(shims);
      },
      { timeout: READY_MS, interval: 250 },
    );
  });

  test.runIf(ENGINE === "mock" && Platform.get().registry !== undefined)(
    "updated from the manifests and the images of before while clients ask: no request fails",
    async ({ skip }) => {
      const before = await earlier(work);
      if (typeof before === "string") {
        // The workflows fetch the history; a checkout without it is a mistake there.
        if (process.env.GITHUB_ACTIONS) throw new Error(`nothing to update from: ${before}`);
        return skip(`nothing to update from: ${before}`);
      }
      const builtMs = performance.now();
      const tag = `before-${before.commit.slice(0, 8)}`;
      await imagesOf(before, platform, tag);
      console.log(`updated from ${before.commit}, whose images were there after ${Math.round(performance.now() - builtMs)} ms`);
      using old = new Site("default", { tag, deploy: join(before.root, "deploy") });
      await platform.kubectl("apply", "--server-side", "-k", old.dir);
      await settled(platform);
      await platform.applyObjects(...withRuntime("samples/adapter/base.yaml", `aibrix/runtime:${tag}`));
      await platform.apply("samples/adapter/adapter.yaml");
      await platform.condition(NAME);
      const images = async (namespace: string) =>
        await platform.kubectl("get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].spec.containers[*].image}");
      expect((await images("aibrix-system")).split(" ").filter((image) => /controller|plugins/.test(image))).toEqual([
        `aibrix/controller-manager:${tag}`,
        `aibrix/gateway-plugins:${tag}`,
      ]);
      const pods = await platform.kubectl("get", "pods", "-n", "aibrix-system", "-o", "name");
      {
        await using load = new Load(platform.gateway, NAME);
        await load.goesOn();
        await platform.shell(printed("install", /^kubectl apply .*deploy\/crd$/m), site.dir);
        await settled(platform);
        await platform.kubectl("wait", "-n", "aibrix-system", "--for=delete", ...pods.trim().split("\n"), `--timeout=${READY_MS / 1000}s`);
        await load.goesOn();
        console.log(`${load.answered} requests were answered in ${load.nowMs} ms, ${load.failed.length} failed`);
      }
      expect(await images("aibrix-system")).not.toContain(`:${tag}`);
      // The sidecars are the user's to update, after the platform: until then the new controller and the old sidecar get on.
      expect(await images("default")).toContain(`aibrix/runtime:${tag}`);
      await platform.apply("samples/adapter/base.yaml");
      await platform.rolledOut(BASE_MODEL);
      await vi.waitFor(async () => expect(await images("default")).not.toContain(`:${tag}`), { timeout: READY_MS, interval: 250 });
      await platform.condition(NAME);
      expect(await complete(platform.gateway, NAME)).toMatchObject({ status: 200 });
    },
  );
});

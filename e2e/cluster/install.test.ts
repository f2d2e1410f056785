// Installed as the guides say, from nothing to the walk-through's answers, uninstalled again, and updated while clients ask.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { everyObject, nodeProcesses, podProcesses } from "../support/inventory.ts";
import { Load } from "../support/load.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { deployOfBefore, printed, putBack, Site, settled, tagImages } from "../support/overlays.ts";
import { Platform, READY_MS } from "../support/platform.ts";
import { printedRequest } from "../support/walk-through.ts";

const NAME = "qwen-code-lora";
const DELETE_ADAPTERS = /^kubectl delete modeladapters/m;
const DELETE_MANIFESTS = /^kubectl delete -k \. /m;

/** Other clusters have an Envoy of their own in front. */
const hasNode = Platform.get().expose !== "";

describe.runIf(hasNode)("installed as users do", () => {
  let platform: Platform;
  let site: Site;
  /** What the cluster had before anything was installed. */
  let before: readonly string[];
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

  test("before, nothing is there", async () => {
    await vi.waitFor(
      async () => expect((await everyObject(platform)).filter((o) => /aibrix-system|modeladapter|aibrix-eg/.test(o))).toEqual([]),
      {
        timeout: READY_MS,
        interval: 500,
      },
    );
    before = await everyObject(platform);
    shims = nodeProcesses(platform, "containerd-shim-runc-v2").length;
  });

  test("the guide's commands install it, and its pods are restricted", async () => {
    await platform.shell(printed("install", /^kubectl wait .*Programmed/m), site.dir);
    const answer = await platform.shell(printed("install", /^curl .*v1\/models$/m));
    expect(JSON.parse(answer)).toMatchObject({ object: "list", data: [] });
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
    const { items } = await platform.json<{ items: readonly { metadata: { uid: string } }[] }>("get", "pods", "-A");
    const known = items.map((item) => item.metadata.uid);
    await vi.waitFor(
      () => {
        expect([...podProcesses(platform).keys()].filter((uid) => !known.includes(uid))).toEqual([]);
        expect(nodeProcesses(platform, "containerd-shim-runc-v2").length).toBe(shims);
      },
      { timeout: READY_MS, interval: 250 },
    );
  });

  test.runIf(ENGINE === "mock")("updated from the manifests of before while clients ask: no request fails", async () => {
    const before = await deployOfBefore(work);
    console.log(before === undefined ? "no older commit is known here: updated from the same manifests" : `updated from ${before.commit}`);
    await tagImages(platform, "before");
    using old = new Site("default", { tag: "before", ...before });
    await platform.kubectl("apply", "--server-side", "-k", old.dir);
    await settled(platform);
    await platform.apply("samples/adapter/base.yaml", "samples/adapter/adapter.yaml");
    await platform.condition(NAME);
    const pods = await platform.kubectl("get", "pods", "-n", "aibrix-system", "-o", "name");
    await using load = new Load(platform.gateway, NAME);
    await load.goesOn();
    await platform.shell(printed("install", /^kubectl apply .*deploy\/crd$/m), site.dir);
    await settled(platform);
    await platform.kubectl("wait", "-n", "aibrix-system", "--for=delete", ...pods.trim().split("\n"), `--timeout=${READY_MS / 1000}s`);
    await load.goesOn();
    const images = "jsonpath={.items[*].spec.containers[*].image}";
    expect(await platform.kubectl("get", "pods", "-n", "aibrix-system", "-o", images)).not.toContain(":before");
    console.log(`${load.answered} requests were answered in ${load.nowMs} ms, ${load.failed.length} failed`);
  });
});

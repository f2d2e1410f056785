// The overlay ha under constant load: whichever part is killed or rolled, no request fails.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { ENGINE, ROOT } from "../support/cli.ts";
import { nodeProcesses, podProcesses } from "../support/inventory.ts";
import { Load } from "../support/load.ts";
import { withFlags } from "../support/manifest.ts";
import { ENVOY, MANAGER, PLUGINS, putBack, Site, settled } from "../support/overlays.ts";
import { Platform, type PodObject, READY_MS } from "../support/platform.ts";
import { commandOf } from "../support/processes.ts";
import { streamed } from "../support/streams.ts";

const NAME = "qwen-code-lora";
const ADAPTER = parse(readFileSync(join(ROOT, "samples/adapter/adapter.yaml"), "utf8"));
/** Some ninety seconds, as fast as the engine is here. */
const LONG_TOKENS = 2_250;
const SECOND = "loaded-by-the-next-leader";

interface Named {
  readonly name: string;
  readonly namespace: string;
}

describe.runIf(Platform.get().expose !== "" && ENGINE === "mock")("the overlay ha under load", () => {
  let platform: Platform;
  let site: Site;
  let load: Load;
  /** A stream that began before the Envoys were rolled out anew. */
  let long: Promise<string>;
  let drained: readonly string[];

  beforeAll(async () => {
    platform = Platform.get();
    site = new Site("ha");
    await platform.kubectl("apply", "--server-side", "-k", site.dir);
    await settled(platform);
    // Streams of twelve seconds; and an engine with one place for adapters would not answer of another while this one is asked for.
    await platform.applyObjects(...withFlags("samples/adapter/base.yaml", "--mock-token-delay-ms=40", "--max-loras=2"));
    await platform.apply("samples/adapter/adapter.yaml");
    await platform.condition(NAME);
    load = new Load(platform.gateway, NAME);
    await load.goesOn();
  });
  afterAll(async () => {
    await load?.[Symbol.asyncDispose]();
    console.log(`${load?.answered} requests were answered in ${load?.nowMs} ms, ${load?.failed.length} failed`);
    await platform?.clear();
    await putBack(platform);
    site?.[Symbol.dispose]();
  });

  test("there are two of each", async () => {
    for (const { name, namespace } of [MANAGER, PLUGINS, ENVOY]) {
      const { status } = await platform.json<{ status: object }>("get", "deployment", name, "-n", namespace);
      expect({ name, ...status }).toMatchObject({ name, readyReplicas: 2, updatedReplicas: 2 });
    }
  });

  test.runIf(Platform.get().hasProcesses)("the controller that leads is killed: another one leads, and adapters come and go", async () => {
    const leader = async () => {
      const { spec } = await platform.json<{ spec: { holderIdentity: string } }>("get", "lease", MANAGER.name, "-n", MANAGER.namespace);
      return spec.holderIdentity;
    };
    const first = await leader();
    const pods = await podsOf(MANAGER);
    const pod = pods.find(({ metadata }) => first.startsWith(metadata.name));
    const pids = podProcesses(platform).get(pod?.metadata.uid ?? "") ?? [];
    const pid = pids.find((p) => commandOf(p).includes("aibrix_controller_manager"));
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await vi.waitFor(async () => expect(await leader()).not.toBe(first), { timeout: READY_MS, interval: 250 });
    await platform.applyObjects({ ...ADAPTER, metadata: { name: SECOND, namespace: "default" } });
    await platform.condition(SECOND);
    await platform.kubectl("delete", "modeladapter", SECOND, "--wait", "--timeout=60s");
    await load.goesOn();
  });

  test("the gateway plugins are rolled out anew", () => rolled(PLUGINS));

  test.runIf(Platform.get().hasProcesses)("the kubelet is killed and starts again: every pod goes on", async () => {
    const all = async () => (await platform.json<{ items: readonly PodObject[] }>("get", "pods", "-A")).items;
    const told = (pods: readonly PodObject[]) =>
      pods.map(({ metadata, status }) => `${metadata.name} ${status.containerStatuses?.map((c) => `${c.name} ${c.restartCount}`)}`).sort();
    const [pod] = await podsOf(PLUGINS);
    const others = async () => told((await all()).filter((p) => p.metadata.name !== pod?.metadata.name));
    const before = await others();
    const [kubelet] = nodeProcesses(platform, "kubelet");
    process.kill(kubelet ?? Number.NaN, "SIGKILL");
    await vi.waitFor(() => expect(nodeProcesses(platform, "kubelet")).not.toContain(kubelet), { timeout: READY_MS, interval: 100 });
    // It ends pods and starts others again, and has looked at all of them by then.
    await platform.kubectl("delete", "pod", pod?.metadata.name ?? "", "-n", PLUGINS.namespace, "--wait");
    await platform.rolledOut(PLUGINS.name, PLUGINS.namespace);
    await load.goesOn();
    expect(await others()).toEqual(expect.arrayContaining([...before]));
  });

  test("the Envoys are rolled out anew, while a stream of more than a minute runs", async () => {
    const stream = await streamed(platform.gateway, NAME, LONG_TOKENS);
    long = stream.text();
    long.catch(() => undefined);
    drained = await podNames(ENVOY);
    await restart(ENVOY);
    await load.goesOn();
  });

  test("the controllers are rolled out anew", () => rolled(MANAGER));

  test("the stream has come to its end, and then the Envoys of before are gone", async () => {
    expect((await long).length).toBeGreaterThan(LONG_TOKENS);
    await gone(ENVOY, drained);
    await load.goesOn();
  });

  async function rolled(deployment: Named): Promise<void> {
    const before = await podNames(deployment);
    await restart(deployment);
    await gone(deployment, before);
    await load.goesOn();
  }

  async function restart({ name, namespace }: Named): Promise<void> {
    await platform.kubectl("rollout", "restart", `deployment/${name}`, "-n", namespace);
    await platform.rolledOut(name, namespace);
  }

  async function gone({ namespace }: Named, pods: readonly string[]): Promise<void> {
    await platform.kubectl("wait", "-n", namespace, "--for=delete", ...pods, `--timeout=${READY_MS / 1000}s`);
  }

  async function podNames(deployment: Named): Promise<readonly string[]> {
    const names = (await podsOf(deployment)).map(({ metadata }) => `pod/${metadata.name}`);
    expect(names).toHaveLength(2);
    return names;
  }

  async function podsOf({ name, namespace }: Named): Promise<readonly PodObject[]> {
    const { spec } = await platform.json<{ spec: { selector: { matchLabels: Record<string, string> } } }>(
      "get",
      "deployment",
      name,
      "-n",
      namespace,
    );
    const selector = Object.entries(spec.selector.matchLabels).map(([key, value]) => `${key}=${value}`);
    return (await platform.json<{ items: readonly PodObject[] }>("get", "pods", "-n", namespace, "-l", selector.join(","))).items;
  }
});

import { beforeAll, expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { adapter, until } from "./support/world.ts";

/*
 * A node that is gone: nobody ends its pods. Here is no node lifecycle controller, so the test does what that does: it takes the pods' readiness
 * away, and later deletes them, which no kubelet ever completes.
 */

const ns = "node-gone";

useWorld();

beforeAll(async () => {
  await world.namespace(ns);
}, 3_600_000);

test.each([
  { where: "behind a sidecar", sidecar: true, name: "x" },
  { where: "without sidecar", sidecar: false, name: "y" },
])(
  "a pod $where on a node that is gone leaves the slices at once, another takes its adapter, and no deletion waits for it",
  async ({ sidecar, name }) => {
    const key = `${ns}/${name}`;
    const lost = await world.pod(`${name}-lost`, { namespace: ns, sidecar, nodeName: "n1", labels: { of: name } });
    const controller = await world.controller(undefined, { directPeriodMs: 100 });
    const podSelector = { matchLabels: { of: name } };
    await world.applyObject(adapter(name, { replicas: 1, podSelector }, { namespace: ns }));
    await adapters.ready(key);
    expect(await adapters.addresses(key)).toEqual([lost.ip]);
    const other = await world.pod(`${name}-other`, { namespace: ns, sidecar, nodeName: "n2", labels: { of: name } });
    const loads = () => (sidecar ? other.runtime.loads.length : other.engine.calls.filter((c) => c.startsWith("POST")).length);
    await adapters.decided(key, controller);
    expect(loads()).toBe(0);

    // Its connections do not end, for nobody is there to end them: its readiness alone tells.
    await world.setReady(lost, false);
    await until("no slice holds it", async () => (await adapters.addresses(key)).length === 0);
    for (const port of [8080, 8000]) world.pods.put(lost.ip, port, undefined);
    lost.runtime.dropStreams();
    await adapters.condition(key, "Ready", "False");
    await world.kubectl("delete", "pod", lost.name, "-n", ns, "--wait=false");
    await adapters.ready(key);
    expect(await adapters.addresses(key)).toEqual([other.ip]);
    expect(loads()).toBe(1);
    expect((await adapters.status(key))?.instances).toEqual([other.name]);
    // It is there still, for its kubelet does not say that it has ended.
    expect(await world.kubectl("get", "pods", "-n", ns, "-o", "name")).toContain(`pod/${lost.name}`);

    await adapters.remove(key);
    expect(await adapters.events(key)).not.toContain("GivenUp");
    await world.stopControllers();
    for (const pod of [lost, other]) await world.deletePod(pod);
  },
);

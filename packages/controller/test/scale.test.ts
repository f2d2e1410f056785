import { expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

const ADAPTERS = 200;
const PODS = 10;

useWorld();

test(`${ADAPTERS} adapters on ${PODS} pods`, async () => {
  const pods: FakePod[] = [];
  for (let i = 0; i < PODS; i++) pods.push(await world.pod(`pod-${i}`));
  const controller = await world.controller();
  await until("it is ready", () => controller.notReady() === undefined);
  const names = Array.from({ length: ADAPTERS }, (_, i) => `lora-${i}`);
  const startMs = performance.now();
  await pMap(names, 16, (name) => world.create(adapter(name)));
  const createdMs = performance.now() - startMs;
  await until("all are ready on all pods", async () => (await adapters.counts()).every(({ ready }) => ready === PODS), 300_000, 500);
  const readyMs = performance.now() - startMs;
  const writes = controller.calls.filter((c) => c.verb !== "watch" && c.verb !== "list");
  const perAdapter = writes.length / ADAPTERS;
  expect(pods.flatMap((p) => p.runtime.loads)).toHaveLength(ADAPTERS * PODS);

  const before = controller.calls.length;
  const [lost] = pods;
  if (lost === undefined) throw new Error("no pod");
  const lostMs = performance.now();
  await world.deletePod(lost);
  await until(
    "none is told to be on the lost pod",
    async () => (await adapters.counts()).every(({ ready }) => ready === PODS - 1),
    300_000,
  );
  const cpu = process.cpuUsage();
  const figures = {
    cpuS: ((cpu.user + cpu.system) / 1e6).toFixed(1),
    createdS: (createdMs / 1000).toFixed(1),
    allReadyS: (readyMs / 1000).toFixed(1),
    callsPerAdapter: perAdapter.toFixed(1),
    podLostS: ((performance.now() - lostMs) / 1000).toFixed(1),
    callsForALostPod: controller.calls.length - before,
    memoryMiB: Math.round(process.memoryUsage().rss / 2 ** 20),
  };
  process.stdout.write(`${ADAPTERS} adapters × ${PODS} pods: ${JSON.stringify(figures)}\n`);
  // Finalizer, Service, slices, status and events; and not again for each pod.
  expect(perAdapter).toBeLessThan(25);
}, 900_000);

/** Calls `f` for each item, at most `atOnce` at a time. */
async function pMap<T>(items: readonly T[], atOnce: number, f: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await f(item);
    }),
  );
}

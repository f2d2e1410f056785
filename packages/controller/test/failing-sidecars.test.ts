import { expect, test } from "vitest";
import { adapters, useWorld, world } from "./support/case.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

useWorld();

/** Sixty times as fast as it is: a minute is a second, and 1 s to 5 min is this. */
const FAST = { baseMs: 17, maxMs: 5_000 };
const MINUTE_MS = 1_000;

test("sidecars and engines that fail in every way: few calls, nobody else waits, and they are well again by themselves", async () => {
  const kinds = ["500", "reset", "garbage", "accepts"] as const;
  const made: FakePod[] = [];
  for (const kind of kinds) {
    const pod = await world.pod(`pod-${kind}`, { labels: { kind } });
    pod.runtime.ill = kind;
    made.push(pod);
  }
  // The engine's Hub does not answer.
  const direct = await world.pod("pod-direct", { labels: { kind: "direct" }, sidecar: false });
  direct.engine.exists = () => false;
  const well = await world.pod("pod-well", { labels: { kind: "well" } });
  const controller = await world.controller(undefined, { callBackoff: FAST, callSettleMs: 33, directPeriodMs: 200 });
  const all = [...kinds, "direct", "well"];
  for (const kind of all) await world.applyObject(adapter(`x-${kind}`, { podSelector: { matchLabels: { kind } } }));
  await adapters.ready("default/x-well");
  for (const kind of ["500", "reset", "garbage", "accepts"]) await adapters.refusal(`default/x-${kind}`, "RuntimeUnavailable");
  await adapters.refusal("default/x-direct", "ArtifactNotFound");
  for (const pod of made) {
    const first = pod.runtime.asked[0] ?? 0;
    await until("ten minutes are over", () => performance.now() > first + 10 * MINUTE_MS);
    const within = (from: number, to: number) => pod.runtime.asked.filter((t) => t - first >= from && t - first < to).length;
    expect([pod.name, within(0, MINUTE_MS)]).toEqual([pod.name, expect.toSatisfy((count: number) => count >= 1 && count <= 12)]);
    expect([pod.name, within(9 * MINUTE_MS, 10 * MINUTE_MS)]).toEqual([pod.name, expect.toSatisfy((count: number) => count <= 2)]);
  }
  const loads = direct.engine.calls.filter((c) => c.startsWith("POST")).length;
  expect(loads).toBeGreaterThan(2);
  expect(loads).toBeLessThan(15);
  expect(await adapters.status("default/x-500")).toMatchObject({
    phase: "Failed",
    pods: [{ state: "Failed", reason: "RuntimeUnavailable" }],
  });
  expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(300);
  expect([well.runtime.loads.length, well.runtime.unloads.length]).toEqual([1, 0]);
  for (const pod of made) pod.runtime.ill = undefined;
  direct.engine.exists = () => true;
  for (const kind of all) await adapters.ready(`default/x-${kind}`);
  expect(made.map((p) => p.runtime.loads.length)).toEqual([1, 1, 1, 1]);
  await adapters.remove(...all.map((kind) => `default/x-${kind}`));
  for (const pod of [...made, direct, well]) await world.deletePod(pod);
  await world.stopControllers();
});

test("a sidecar that takes connections and never answers: a stream and a call at a time, nobody else waits, and it is well again by itself", async () => {
  const silent = await world.pod("pod-silent", { labels: { set: "hang" } });
  const well = await world.pod("pod-well", { labels: { set: "hang" } });
  silent.runtime.ill = "silent";
  const names = ["y-0", "y-1", "y-2"];
  const controller = await world.controller(undefined, { callBackoff: FAST, sidecarSilenceMs: 3_000 });
  let most = 0;
  const watching = setInterval(() => (most = Math.max(most, silent.runtime.unanswered.size)), 5);
  try {
    for (const name of names) {
      await world.applyObject(adapter(name, { podSelector: { matchLabels: { set: "hang" } } }));
      await adapters.ready(`default/${name}`);
      expect(await adapters.addresses(`default/${name}`)).toEqual([well.ip]);
    }
    await until("it is told", async () => {
      const row = (await adapters.status("default/y-0"))?.pods?.find((p) => p.name === silent.name);
      return row?.reason === "RuntimeUnavailable" && /fell silent|does not answer within 3 s/.test(row.lastError ?? "");
    });
    const before = silent.runtime.watches;
    // One that waits for an answer is given up after the silence, and the next one is tried a little later each time, at most 5 s.
    await until("it was tried again", () => silent.runtime.watches > before + 1);
    // It may have taken the adapter before: that is not waited for without end.
    await adapters.remove("default/y-2");
    expect(well.runtime.serving).toEqual(["y-0", "y-1"]);
    expect(most).toBeLessThanOrEqual(1 + names.length);
    expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(60);
  } finally {
    clearInterval(watching);
  }
  // What waited is cut, as when a process ends.
  silent.runtime.ill = undefined;
  for (const reply of silent.runtime.unanswered) reply.destroy();
  for (const name of ["y-0", "y-1"])
    await until(`${name} is served there`, async () => (await adapters.addresses(`default/${name}`)).includes(silent.ip));
  // Both were asked for at once.
  expect(silent.runtime.serving.toSorted()).toEqual(["y-0", "y-1"]);
  expect(silent.runtime.loads).toHaveLength(2);
  await adapters.remove("default/y-0", "default/y-1");
  for (const pod of [silent, well]) await world.deletePod(pod);
});

test("a sidecar whose calls hang, though it says how it is: all that while others get their adapters", async () => {
  const hanging = await world.pod("pod-hanging", { labels: { set: "calls" } });
  const well = await world.pod("pod-well", { labels: { set: "calls" } });
  hanging.runtime.hangs = true;
  await world.controller(undefined, { callBackoff: FAST });
  const names = ["z-0", "z-1", "z-2"];
  for (const name of names) {
    await world.applyObject(adapter(name, { podSelector: { matchLabels: { set: "calls" } } }));
    await adapters.ready(`default/${name}`);
    expect(await adapters.addresses(`default/${name}`)).toEqual([well.ip]);
  }
  // No call was given up meanwhile, so nobody waited for the end of one.
  await until("it was asked", () => hanging.runtime.asked.length > 0);
  expect(hanging.runtime.asked).toHaveLength(hanging.runtime.unanswered.size);
  hanging.runtime.hangs = false;
  for (const reply of hanging.runtime.unanswered) reply.destroy();
  for (const name of names)
    await until(`${name} is served there`, async () => (await adapters.addresses(`default/${name}`)).includes(hanging.ip));
  await adapters.remove(...names.map((name) => `default/${name}`));
  for (const pod of [hanging, well]) await world.deletePod(pod);
  await world.stopControllers();
});

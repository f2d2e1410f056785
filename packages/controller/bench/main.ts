import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pLimit from "p-limit";
import { Adapters } from "../test/support/adapters.ts";
import { adapter, type FakePod, until, World } from "../test/support/world.ts";
import type { Figures } from "./controller-process.ts";

/*
 * How long the controller takes to make many adapters ready on a real API server, how often it calls that, and how much memory its
 * process has. The pods' sidecars are fakes, so that nothing but the controller and the API server is measured. It prints and never judges:
 * the figures are those of the machine and of what else runs there.
 */

const { values } = parseArgs({
  options: { adapters: { type: "string", default: "200" }, pods: { type: "string", default: "10" } },
});
const [ADAPTERS, PODS] = [count("adapters", values.adapters), count("pods", values.pods)];
const WAIT_MS = 900_000;

await using world = await World.start();
const adapters = new Adapters(world);
const pods: FakePod[] = [];
for (let i = 0; i < PODS; i++) pods.push(await world.pod(`pod-${i}`));
const controller = await startController();
try {
  const idle = await until("the caches are filled", async () => {
    const now = await ask(controller);
    return now.ready ? now : undefined;
  });
  const startMs = performance.now();
  const limit = pLimit(16);
  await Promise.all(Array.from({ length: ADAPTERS }, (_, i) => limit(() => world.create(adapter(`lora-${i}`)))));
  const createdMs = performance.now() - startMs;
  await everywhere(PODS);
  const readyMs = performance.now() - startMs;
  const ready = await ask(controller);

  const lostMs = performance.now();
  const [lost] = pods;
  if (lost !== undefined) await world.deletePod(lost);
  await everywhere(PODS - 1);
  const goneMs = performance.now() - lostMs;
  const end = await ask(controller);

  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const rows: readonly (readonly [string, string])[] = [
    ["all created after", seconds(createdMs)],
    ["all Ready on every pod after", seconds(readyMs)],
    ["API calls per adapter", ((ready.calls - idle.calls) / ADAPTERS).toFixed(1)],
    ["load calls to sidecars", String(pods.reduce((n, p) => n + p.runtime.loads.length, 0))],
    ["one pod lost: told everywhere after", seconds(goneMs)],
    ["one pod lost: API calls", String(end.calls - ready.calls)],
    ["controller's CPU time", seconds(end.cpuMs)],
    ["controller's memory (RSS) before the first adapter", mib(idle.rssBytes)],
    ["controller's memory (RSS) when all were Ready", mib(ready.rssBytes)],
    ["controller's memory (RSS) at its peak", mib(end.peakRssBytes)],
    ["controller's heap in use when all were Ready", mib(ready.heapUsedBytes)],
  ];
  process.stdout.write(`controller: ${ADAPTERS} adapters × ${PODS} pods\n`);
  for (const [what, value] of rows) process.stdout.write(`  ${what.padEnd(52)} ${value}\n`);
} finally {
  controller.disconnect();
  if (controller.exitCode === null) await once(controller, "exit");
}

async function startController(): Promise<ChildProcess> {
  const file = fileURLToPath(new URL("controller-process.ts", import.meta.url));
  // As it ships: what was built, not the sources that this file runs from.
  return fork(file, [await world.controllerKubeconfig(), world.pods.url], { execArgv: [] });
}

async function ask(child: ChildProcess): Promise<Figures> {
  child.send("figures");
  const [figures] = await once(child, "message", { signal: AbortSignal.timeout(60_000) });
  return figures as Figures;
}

async function everywhere(ready: number): Promise<void> {
  const all = async () => (await adapters.counts()).every((a) => a.ready === ready);
  await until(`all adapters are ready on ${ready} pods`, all, WAIT_MS, 250);
}

function count(flag: string, text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 10_000) throw new Error(`--${flag} ${text}: write a number from 1 to 10000`);
  return n;
}

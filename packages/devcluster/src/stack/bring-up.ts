import { allReady } from "./all-ready.ts";
import { StackError } from "./errors.ts";
import { writeS3Files } from "./fixtures.ts";
import type { PartSpec } from "./part.ts";
import { type PartPlan, planEngines, planServing, planSources, runtimeName } from "./plan.ts";
import type { Laid } from "./prepare.ts";
import { getJson, untilAnswers } from "./probe.ts";
import { isSettled, type RuntimeView } from "./runtime-view.ts";
import type { Runtimes } from "./runtimes.ts";
import { logFile, type StateDir } from "./state-dir.ts";
import type { Supervisor } from "./supervisor.ts";
import { deadline, until } from "./time.ts";

/** An engine that the user runs is waited for this long; then the rest is served without it. */
const EXTERNAL_ENGINE_MS = 5_000;
const ADAPTERS_MS = 60_000;
const GATEWAY_MS = 15_000;

export interface BringUpDeps {
  readonly supervisor: Supervisor;
  readonly runtimes: Runtimes;
  readonly dir: StateDir;
  readonly say: (line: string) => void;
  /** Ends the watches of the runtimes. */
  readonly watching: AbortSignal;
}

/**
 * Starts every part and returns when the stack serves: all parts work, the gateway lists the engines' base models, and every adapter is
 * served or has failed (or {@link ADAPTERS_MS} have passed).
 * @throws {@link StackError} with cause and remedy where a part cannot be started
 */
export async function bringUp(laid: Laid, deps: BringUpDeps, signal: AbortSignal): Promise<void> {
  const { input } = laid;
  const begin = (plans: readonly PartPlan[]) => plans.map((plan) => deps.supervisor.start(specOf(plan)));
  const engines = begin(planEngines(input));
  await allReady(begin(planSources(input)), deps, signal);
  if (laid.s3 !== undefined) await fillS3(laid, signal);
  const serving = begin(planServing(input));
  for (const { name, runtimePort } of input.engines) {
    void deps.runtimes.follow(name, `http://127.0.0.1:${runtimePort}`, deps.watching);
  }
  await allReady([...engines, ...serving], deps, signal);
  const external = input.engine === "external";
  await deps.runtimes.until(
    (views) => input.engines.every(({ name }) => views.get(name)?.engine.ready === true),
    deadline(external ? EXTERNAL_ENGINE_MS : GATEWAY_MS, signal),
  );
  await adaptersSettled(laid, deps, signal);
  await gatewayLists(laid, deps, signal);
}

function specOf(plan: PartPlan): PartSpec {
  return { ...plan, ready: (signal) => untilAnswers(plan.probe.url, plan.probe.anyStatus, signal) };
}

/** The S3 client is large: it is read only where it is used. */
async function fillS3({ s3, input }: Laid, signal: AbortSignal): Promise<void> {
  if (s3 === undefined) return;
  const { fillBucket } = await import("./s3-content.ts");
  const files = `${input.paths.s3Data}-files`;
  await writeS3Files(files);
  await fillBucket(s3, files, signal);
}

/** The runtimes have read the folder (each says so by its readiness), and every adapter is served or has failed. */
async function adaptersSettled({ input }: Laid, deps: BringUpDeps, signal: AbortSignal): Promise<void> {
  const within = deadline(ADAPTERS_MS, signal);
  const reachable = input.engines.filter(({ name }) => deps.runtimes.views.get(name)?.engine.ready === true);
  for (const { runtimePort } of reachable)
    await untilAnswers(`http://127.0.0.1:${runtimePort}/ready`, false, within).catch(() => undefined);
  await deps.runtimes.until((views) => reachable.every(({ name }) => isSettled(views.get(name))), within);
  signal.throwIfAborted();
}

/** The gateway has heard of every base model and every served adapter. */
async function gatewayLists({ input, gateway }: Laid, deps: BringUpDeps, signal: AbortSignal): Promise<void> {
  const listed = await until(
    async () => {
      const { data } = (await getJson(`${gateway}/v1/models`, signal)) as { data: readonly { id: string }[] };
      const names = new Set(data.map((m) => m.id));
      return [...deps.runtimes.views.values()].flatMap(servedNames).every((name) => names.has(name));
    },
    50,
    deadline(GATEWAY_MS, signal),
  );
  signal.throwIfAborted();
  if (!listed) {
    const log = logFile(deps.dir, "gateway");
    throw new StackError(
      `The gateway at ${gateway} does not list what the engines serve (${input.engines.map((e) => runtimeName(e.name)).join(", ")} say more): look into ${log}.`,
    );
  }
}

function servedNames(view: RuntimeView): readonly string[] {
  if (view === undefined || !view.engine.ready) return [];
  return [...view.engine.base_models, ...view.adapters.filter((a) => a.serving !== null).map((a) => a.lora_name)];
}

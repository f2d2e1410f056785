import type { AdapterStatus, Snapshot } from "@aibrix/api";
import { type Static, Type } from "typebox";
import { whyNotServing } from "../openai/reasons.ts";
import type { EngineModel, EngineState } from "../routing/types.ts";

/** What is told of an engine that its runtime finds not ready; the runtime's own words may name hosts and files. */
const ENGINE_NOT_READY = "its engine is not ready";

/** An adapter as its runtime reports it. */
export function adapterModel(adapter: AdapterStatus, parent: string | undefined, nowSec: number): EngineModel {
  const { serving } = adapter;
  const model = {
    id: adapter.lora_name,
    kind: "adapter",
    root: serving?.path ?? adapter.artifact_url,
    ...(parent === undefined ? {} : { parent }),
    createdSec: Math.floor(Date.parse(serving?.since ?? "") / 1000) || nowSec,
  } as const;
  const updating = adapter.state === "Updating";
  // Its requests have to end before the new content comes: with others on top they never would.
  const drains = updating && adapter.waits_since !== undefined;
  if (serving !== null && !drains) return model;
  const swapping = updating || adapter.swapping === true ? ({ swapping: true } as const) : {};
  return { ...model, notServing: whyNotServing(adapter.state, adapter.reason), ...swapping };
}

/** Whether an adapter is being taken away: it finishes what it has, and gets nothing new. */
export function isLeaving(adapter: AdapterStatus): boolean {
  return adapter.state === "Draining";
}

/** Names under which the engine serves its base model. */
export function baseNames(listed: readonly string[], configured: readonly string[]): readonly string[] {
  return [...new Set([...listed, ...configured])];
}

/** An engine as its runtime reports it. */
export function stateOfSnapshot(snapshot: Snapshot, address: string, configured: readonly string[], nowSec: number): EngineState {
  const bases = baseNames(snapshot.engine.base_models, configured);
  return {
    address,
    notReady: snapshot.engine.ready ? undefined : ENGINE_NOT_READY,
    models: [
      ...snapshot.adapters.filter((adapter) => !isLeaving(adapter)).map((adapter) => adapterModel(adapter, bases[0], nowSec)),
      ...bases.map((id): EngineModel => ({ id, kind: "base", root: id, createdSec: nowSec })),
    ],
  };
}

/** What counts of an engine's `GET /v1/models`. */
export const ModelListSchema = Type.Object({
  data: Type.Array(
    Type.Object({
      id: Type.String(),
      created: Type.Optional(Type.Number()),
      root: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      parent: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
  ),
});

/** An engine as its own list shows it: what is in it is served. */
export function stateOfList(
  list: Static<typeof ModelListSchema>,
  address: string,
  configured: readonly string[],
  nowSec: number,
): EngineState {
  const listed = list.data.map(
    ({ id, created, root, parent }): EngineModel => ({
      id,
      kind: typeof parent === "string" ? "adapter" : "base",
      root: root ?? id,
      ...(typeof parent === "string" ? { parent } : {}),
      createdSec: created ?? nowSec,
    }),
  );
  const names = new Set(listed.map((model) => model.id));
  const added = configured.filter((id) => !names.has(id)).map((id): EngineModel => ({ id, kind: "base", root: id, createdSec: nowSec }));
  return { address, notReady: undefined, models: [...listed, ...added] };
}

import { detailOf, type RuntimeView, shortManifest, withShownProblems } from "./runtime-view.ts";

/** What is not served although it should be, each with cause and remedy. Pure. */
export function warnings(views: ReadonlyMap<string, RuntimeView>): readonly string[] {
  const found = [...withShownProblems(views, "ignored")].flatMap(([engine, view]) =>
    view === undefined ? [`${engine}: its runtime has not answered yet`] : ofView(engine, view),
  );
  return [...new Set(found.map((line) => line.trimEnd()))];
}

function ofView(engine: string, view: NonNullable<RuntimeView>): readonly string[] {
  const { engine: state, adapters, manifest_problems: problems } = view;
  const pending = adapters.filter((a) => a.state !== "Serving" && a.state !== "Failed");
  return [
    ...(state.message === undefined ? [] : [`${engine}: ${state.message}`]),
    ...adapters.filter((a) => a.state === "Failed").map((a) => `${a.lora_name} on ${engine}: Failed  ${detailOf(a)}`),
    // While an engine is away its adapters can only wait; that is said once.
    ...(state.ready ? pending.map((a) => `${a.lora_name} on ${engine}: still ${a.state}  ${detailOf(a)}`) : []),
    ...problems.map((p) => `${shortManifest(p)}: ${p.message}`),
  ];
}

import type { AdapterStatus, EngineStatus, ManifestProblem, Reason, Snapshot, WatchEvent } from "@aibrix/api";

/** What a runtime has said so far; `undefined` before its first word. */
export type RuntimeView = Snapshot | undefined;

/** The view after one more line of the watch. Pure. */
export function applyEvent(view: RuntimeView, event: WatchEvent): RuntimeView {
  if (event.type === "SNAPSHOT") return event.object;
  if (view === undefined) return undefined;
  switch (event.type) {
    case "ADAPTER": {
      const others = view.adapters.filter((a) => a.lora_name !== event.object.lora_name);
      return { ...view, adapters: [...others, event.object].sort((a, b) => (a.lora_name < b.lora_name ? -1 : 1)) };
    }
    case "DELETED":
      return { ...view, adapters: view.adapters.filter((a) => a.lora_name !== event.lora_name) };
    case "ENGINE":
      return { ...view, engine: event.object };
    case "MANIFESTS":
      return { ...view, manifest_problems: [...event.object] };
    default:
      return view;
  }
}

/** One thing that changed, for a line of output. */
export interface Change {
  /** Name of an adapter, a manifest by its file and name, or `engine`. */
  readonly subject: string;
  readonly state: string;
  readonly detail: string;
}

/** State of a manifest that cannot be taken. */
export const PROBLEM = "Problem";

/** A manifest by its file, and its name where that is known. */
export function manifestOf({ file, name }: ManifestProblem): string {
  return `${file}${name === undefined ? "" : ` (${name})`}`;
}

/** The same by the last part of the file's path. */
export function shortManifest(p: ManifestProblem): string {
  return manifestOf({ ...p, file: p.file.slice(p.file.lastIndexOf("/") + 1) });
}

const NOT_SELECTED: Reason = "NotSelected";

/**
 * The views with those problems alone that a user should hear of: that an engine is not selected is one only where no engine is. Pure.
 * @param undecided - an engine that has not named its base models may yet be selected: whether it is waited for, or only what
 *   the others say counts
 */
export function withShownProblems(
  views: ReadonlyMap<string, RuntimeView>,
  undecided: "awaited" | "ignored",
): ReadonlyMap<string, RuntimeView> {
  const said = [...views.values()]
    .filter((view) => undecided === "awaited" || (view?.engine.base_models.length ?? 0) > 0)
    .map((view) => new Set(view?.manifest_problems.filter((p) => p.reason === NOT_SELECTED).map(selection)));
  const isShown = (p: ManifestProblem) => p.reason !== NOT_SELECTED || said.every((those) => those.has(selection(p)));
  return new Map(
    [...views].map(([engine, view]) => [engine, view && { ...view, manifest_problems: view.manifest_problems.filter(isShown) }]),
  );
}

/**
 * Which manifest is meant, and which version of it: the message begins with the selector and goes on with the engine. A file may hold two of
 * one name for two engines, and one engine's runtime reads a change before another's.
 */
function selection(p: ManifestProblem): string {
  return `${manifestOf(p)}\n${p.message.split(" does not match ")[0]}`;
}

/** What a user would want to read of the step from one view to the next. Progress of a download is none of it. Pure. */
export function changes(before: RuntimeView, after: RuntimeView): readonly Change[] {
  if (after === undefined) return [];
  const known = new Map((before?.adapters ?? []).map((a) => [a.lora_name, a]));
  const now = new Set(after.adapters.map((a) => a.lora_name));
  const seen = new Set((before?.manifest_problems ?? []).map((p) => `${manifestOf(p)}\n${p.message}`));
  return [
    ...(before === undefined || engineLine(before.engine) !== engineLine(after.engine) ? [engineChange(after.engine)] : []),
    ...after.adapters.filter((a) => adapterLine(known.get(a.lora_name)) !== adapterLine(a)).map(adapterChange),
    ...[...known.keys()].filter((name) => !now.has(name)).map((subject) => ({ subject, state: "Removed", detail: "" })),
    ...after.manifest_problems
      .filter((p) => !seen.has(`${manifestOf(p)}\n${p.message}`))
      .map((p) => ({ subject: shortManifest(p), state: PROBLEM, detail: p.message })),
  ];
}

/** Whether nothing more will happen without somebody's doing: the engine answers, and each adapter is served or has failed. Pure. */
export function isSettled(view: RuntimeView): boolean {
  return view?.engine.ready === true && view.adapters.every((a) => a.state === "Serving" || a.state === "Failed");
}

/** A cause and what to do about it, in one line. */
export function detailOf(a: Pick<AdapterStatus, "state" | "serving" | "reason" | "message">): string {
  const digest = a.state === "Serving" && a.serving !== null ? shortDigest(a.serving.content_digest ?? "") : "";
  const told = [a.reason, a.message].filter((t) => t !== undefined && t !== "").join(": ");
  const isOlder = a.serving !== null && !["Serving", "Draining"].includes(a.state);
  const rest = isOlder && a.reason !== undefined ? " (the content that served before goes on serving)" : "";
  return [digest, `${told}${rest}`].filter((t) => t !== "").join("  ");
}

function shortDigest(digest: string): string {
  return digest.replace(/^(sha256:)?([0-9a-f]{12})[0-9a-f]*$/, "$2");
}

function adapterChange(a: AdapterStatus): Change {
  return { subject: a.lora_name, state: a.state, detail: detailOf(a) };
}

function engineChange(e: EngineStatus): Change {
  return { subject: "engine", state: e.ready ? "Ready" : "NotReady", detail: e.message ?? e.base_models.join(", ") };
}

function adapterLine(a: AdapterStatus | undefined): string {
  return a === undefined ? "" : `${a.state}\n${detailOf(a)}`;
}

function engineLine(e: EngineStatus): string {
  return `${e.ready}\n${e.message ?? e.base_models.join(", ")}`;
}

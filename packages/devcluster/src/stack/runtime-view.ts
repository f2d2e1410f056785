import type { AdapterStatus, EngineStatus, Snapshot, WatchEvent } from "@aibrix/api";

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
  /** Name of an adapter, of a manifest's file, or `engine`. */
  readonly subject: string;
  readonly state: string;
  readonly detail: string;
}

/** State of a manifest that cannot be taken. */
export const PROBLEM = "Problem";

/** The last part of a path. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** What a user would want to read of the step from one view to the next. Progress of a download is none of it. Pure. */
export function changes(before: RuntimeView, after: RuntimeView): readonly Change[] {
  if (after === undefined) return [];
  const known = new Map((before?.adapters ?? []).map((a) => [a.lora_name, a]));
  const now = new Set(after.adapters.map((a) => a.lora_name));
  const seen = new Set((before?.manifest_problems ?? []).map((p) => `${p.file}\n${p.message}`));
  return [
    ...(before === undefined || engineLine(before.engine) !== engineLine(after.engine) ? [engineChange(after.engine)] : []),
    ...after.adapters.filter((a) => adapterLine(known.get(a.lora_name)) !== adapterLine(a)).map(adapterChange),
    ...[...known.keys()].filter((name) => !now.has(name)).map((subject) => ({ subject, state: "Removed", detail: "" })),
    ...after.manifest_problems
      .filter((p) => !seen.has(`${p.file}\n${p.message}`))
      .map((p) => ({ subject: fileName(p.file), state: PROBLEM, detail: p.message })),
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
  return [digest, told].filter((t) => t !== "").join("  ");
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

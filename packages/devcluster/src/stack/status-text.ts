import type { ClusterReport } from "../cluster/status.ts";
import type { CommandTexts } from "./commands.ts";
import { detailOf, manifestOf, withShownProblems } from "./runtime-view.ts";
import type { EngineReport, PartStatus, StackStatus } from "./status.ts";
import { span } from "./time.ts";

/** `status` for people. Pure. */
export function statusText(status: StackStatus, commands: CommandTexts, now: Date): string {
  return [
    ...headline(status, commands),
    ...partsTable(status.parts, now),
    ...enginesTable(status.engines),
    ...adaptersTable(status.engines),
    ...problems(status.engines),
    ...(status.cluster === undefined ? [] : clusterTables(status.cluster)),
  ].join("\n");
}

function headline({ state, dir, stack }: StackStatus, commands: CommandTexts): readonly string[] {
  switch (state) {
    case "stopped":
      return [`No stack runs in ${dir}. Start one with: ${commands.start}`];
    case "stale":
      return [`The supervisor of the stack in ${dir} was killed. End what it left with: ${commands.stop}`];
    case "starting":
      return [`The stack in ${dir} is not ready: it is being started or stopped.`];
    case "ready":
      return [`${stack?.gateway}  ready, ${stack === undefined ? "" : what(stack)}, in ${dir}`];
    case "degraded":
      return [`${stack?.gateway}  not everything is Ready, ${stack === undefined ? "" : what(stack)}, in ${dir}`];
  }
}

function what(stack: NonNullable<StackStatus["stack"]>): string {
  return stack.mode === "kubernetes" ? `Kubernetes (${stack.cluster}), engine ${stack.engine}` : `engine ${stack.engine}`;
}

function clusterTables({ nodes, pods, adapters, problem }: ClusterReport): readonly string[] {
  if (problem !== undefined) return ["", `The cluster does not answer: ${problem}`];
  return [
    ...table(
      "NODE",
      ["STATE", ""],
      nodes.map((n) => [n.name, n.ready ? "Ready" : "NotReady", n.message]),
    ),
    ...table(
      "POD",
      ["CONTAINER", "STATE", ""],
      pods.map((p) => [p.pod, p.container ?? "", p.state, p.message]),
    ),
    ...table(
      "MODELADAPTER",
      ["PHASE", "REASON", ""],
      adapters.map((a) => [`${a.namespace}/${a.name}`, a.phase, a.reason, a.message]),
    ),
  ];
}

function partsTable(parts: readonly PartStatus[], now: Date): readonly string[] {
  return table(
    "PART",
    ["PID", "UP", "URL"],
    parts.map((p) => [p.name, String(p.pid), p.alive ? span(now.getTime() - Date.parse(p.since)) : "down", p.url ?? ""]),
  );
}

function enginesTable(engines: readonly EngineReport[]): readonly string[] {
  return table(
    "ENGINE",
    ["STATE", "BASE MODELS", "URL", ""],
    engines.map(({ name, url, snapshot }) => {
      if (snapshot === undefined) return [name, "Unknown", "", url, "its runtime does not answer; it is started again by itself"];
      const { ready, base_models: models, message } = snapshot.engine;
      return [name, ready ? "Ready" : "NotReady", models.join(","), url, message ?? ""];
    }),
  );
}

function adaptersTable(engines: readonly EngineReport[]): readonly string[] {
  return table(
    "ADAPTER",
    ["ENGINE", "STATE", ""],
    engines.flatMap(({ name, snapshot }) => (snapshot?.adapters ?? []).map((a) => [a.lora_name, name, a.state, detailOf(a)])),
  );
}

function problems(engines: readonly EngineReport[]): readonly string[] {
  const views = withShownProblems(new Map(engines.map(({ name, snapshot }) => [name, snapshot])), "ignored");
  const found = [...views.values()].flatMap((view) => (view?.manifest_problems ?? []).map((p) => `  ${manifestOf(p)}: ${p.message}`));
  return found.length === 0 ? [] : ["", "PROBLEMS", ...new Set(found)];
}

function table(first: string, rest: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  if (rows.length === 0) return [];
  const all = [[first, ...rest], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return [
    "",
    ...all.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    ),
  ];
}

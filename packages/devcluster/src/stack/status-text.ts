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
      return [`${stack?.gateway}  ready, engine ${stack?.engine}, in ${dir}`];
  }
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

import { cpus, loadavg, totalmem } from "node:os";
import type { Figures } from "./controller-process.ts";

/** One line of a report. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: "s" | "ms" | "MiB" | "%" | "";
  /** What it is to be, in words. */
  readonly goal?: string;
}

export interface Report {
  readonly scenario: string;
  readonly of: string;
  readonly figures: readonly Figure[];
}

/** The machine that figures are of; its load is that of the last minute. */
export function machine(): { readonly cpus: number; readonly memoryGiB: number; readonly load: number } {
  return { cpus: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), load: Math.round((loadavg()[0] ?? 0) * 10) / 10 };
}

export function seconds(what: string, ms: number, goal?: string): Figure {
  return figure(what, ms / 1000, "s", goal);
}

export function milliseconds(what: string, ms: number, goal?: string): Figure {
  return figure(what, ms, "ms", goal);
}

export function count(what: string, value: number, goal?: string): Figure {
  return figure(what, value, "", goal);
}

export function percent(what: string, value: number, goal?: string): Figure {
  return figure(what, value, "%", goal);
}

function figure(what: string, value: number, unit: Figure["unit"], goal: string | undefined): Figure {
  return { what, value: Math.round(value * 1000) / 1000, unit, ...(goal === undefined ? {} : { goal }) };
}

/** What it cost the controller to get from one state to the next. */
export function costs(before: Figures, after: Figures, adapters: number): Figure[] {
  const mib = (what: string, bytes: number) => figure(what, Math.round(bytes / 2 ** 20), "MiB", undefined);
  return [
    count("API calls per adapter", (after.calls - before.calls) / adapters),
    ...Object.keys(after.callsBy)
      .map((what) => count(`  ${what}`, ((after.callsBy[what] ?? 0) - (before.callsBy[what] ?? 0)) / adapters))
      .filter((f) => f.value >= 0.1),
    milliseconds("CPU time per adapter", (after.cpuMs - before.cpuMs) / adapters),
    count("reconciles per adapter", after.reconcileMs.length / adapters),
    ...[50, 95, 99].map((p) => milliseconds(`reconcile, waited and worked on, p${p}`, percentile(after.reconcileMs, p))),
    mib("memory (RSS)", after.rssBytes),
    mib("memory (RSS) at its peak", after.peakRssBytes),
    mib("heap in use", after.heapUsedBytes),
  ];
}

/** The value below which so many percent of the values are; 0 of none. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
}

export function text({ scenario, of, figures }: Report): string {
  const rows = figures.map(({ what, value, unit, goal }) => {
    const shown = `${value.toFixed(unit === "MiB" || Number.isInteger(value) ? 0 : value < 10 ? 2 : 1)} ${unit}`.trim();
    return `  ${what.padEnd(58)} ${shown}${goal === undefined ? "" : `  (${goal})`}\n`;
  });
  return `${scenario}: ${of}\n${rows.join("")}`;
}

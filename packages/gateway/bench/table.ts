import type { Cell, CellFigures, Figures } from "./figures.ts";

type Column = readonly [title: string, of: (f: Figures) => string];

/** The columns of a table, the first for the variant's name. */
const COLUMNS: readonly Column[] = [
  ["variant", (f) => f.variant],
  ["req/s", (f) => whole(f.requestsPerSecond)],
  ["p50 µs", (f) => whole(f.p50Us)],
  ["p99 µs", (f) => whole(f.p99Us)],
  ["added p50", (f) => whole(f.addedP50Us)],
  ["added p99", (f) => whole(f.addedP99Us)],
  ["CPU µs", (f) => fine(f.cpuUs)],
  ["reads", (f) => ratio(f.reads)],
  ["Envoy CPU µs", (f) => fine(f.envoyCpuUs)],
  ["failed", (f) => `${f.failures}/${f.requests}`],
  ["CPU ×go", (f) => ratio(f.ofPeer?.cpu)],
  ["p50 ×go", (f) => ratio(f.ofPeer?.addedP50)],
  ["p99 ×go", (f) => ratio(f.ofPeer?.addedP99)],
  ["req/s ×go", (f) => ratio(f.ofPeer?.requestsPerSecond)],
  ["CPU ×plain", (f) => ratio(f.ofPlainCpu)],
  ["CPU ×paced", (f) => ratio(f.ofPacedCpu)],
];

/** A cell in words. */
export function cellName({ kib, concurrency, stream, paced }: Cell): string {
  const kind = stream ? "events" : paced === true ? "plain at the rate of the events" : "plain";
  return `${kib} KB, ${concurrency} at a time, ${kind}`;
}

/** What was measured, in columns for people. */
export function table(cells: readonly CellFigures[]): string {
  return cells.map((cell) => `${cellName(cell)}\n${columns(cell.variants)}`).join("\n");
}

/** The same as one Markdown table. */
export function markdown(cells: readonly CellFigures[]): string {
  const row = (texts: readonly string[]): string => `| ${texts.join(" | ")} |\n`;
  const head = ["requests", ...COLUMNS.map(([title]) => title)];
  const rows = cells.flatMap((cell) => cell.variants.map((f, i) => [i === 0 ? cellName(cell) : "", ...COLUMNS.map(([, of]) => of(f))]));
  return [row(head), row(head.map(() => "---")), ...rows.map(row)].join("");
}

function columns(rows: readonly Figures[]): string {
  const lines = [COLUMNS.map(([title]) => title), ...rows.map((f) => COLUMNS.map(([, of]) => of(f)))];
  const widths = COLUMNS.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  const text = (line: readonly string[]): string =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  return lines.map((line) => `  ${text(line)}\n`).join("");
}

function whole(value: number | undefined): string {
  return value === undefined ? "" : Math.round(value).toString();
}

function fine(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(value < 100 ? 1 : 0);
}

function ratio(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(2);
}

import type { CellFigures, Figures } from "./figures.ts";

/** One row of panels. */
const METRICS: readonly (readonly [title: string, of: (f: Figures) => number | undefined])[] = [
  ["CPU time of the ext_proc server, µs per request", (f) => f.cpuUs],
  ["p50 latency above Envoy without ext_proc, µs", (f) => f.addedP50Us],
  ["requests per second", (f) => f.requestsPerSecond],
];

const PANEL = { width: 300, left: 118, right: 62, bar: 16, gap: 6, head: 40, foot: 30 } as const;
const MARGIN = 20;
const TITLE = 44;
/** Of the ones without a colour of their own. */
const OURS = "#2563eb";
const COLOURS: Readonly<Record<string, string>> = { none: "#9ca3af", go: "#d97706" };

/**
 * A picture of plain requests at one concurrency: a row for each metric, a column for each size of body, a bar for each variant.
 *
 * @param subtitle - machine, date and the like
 */
export function plot(cells: readonly CellFigures[], concurrency: number, subtitle: string): string {
  const columns = cells.filter((c) => !c.stream && c.paced !== true && c.concurrency === concurrency);
  const most = Math.max(0, ...columns.map((c) => c.variants.length));
  const panelHeight = PANEL.head + most * (PANEL.bar + PANEL.gap) + PANEL.foot;
  const width = 2 * MARGIN + columns.length * PANEL.width;
  const height = 2 * MARGIN + TITLE + METRICS.length * panelHeight;
  const panels = METRICS.flatMap(([title, of], row) =>
    columns.map((cell, column) => {
      const at = `translate(${MARGIN + column * PANEL.width} ${MARGIN + TITLE + row * panelHeight})`;
      return `<g transform="${at}">${panel(`${cell.kib} KB body`, title, cell.variants, of)}</g>`;
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<title>Plain requests, ${concurrency} at a time</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(MARGIN, MARGIN + 12, `Plain requests, ${concurrency} at a time`, 'font-size="16" font-weight="bold"'),
    text(MARGIN, MARGIN + 30, subtitle, 'fill="#4b5563"'),
    ...panels,
    "</svg>",
    "",
  ].join("\n");
}

function panel(title: string, axis: string, variants: readonly Figures[], of: (f: Figures) => number | undefined): string {
  const bars = variants.flatMap((f) => {
    const value = of(f);
    return value === undefined || Number.isNaN(value) ? [] : [{ name: f.variant, value }];
  });
  const end = niceCeiling(Math.max(1, ...bars.map((b) => b.value)));
  const room = PANEL.width - PANEL.left - PANEL.right;
  const scale = (value: number): number => (Math.max(0, value) / end) * room;
  const bottom = PANEL.head + bars.length * (PANEL.bar + PANEL.gap);
  const drawn = bars.map(({ name, value }, i) => {
    const y = PANEL.head + i * (PANEL.bar + PANEL.gap);
    const middle = y + PANEL.bar - 4;
    const long = scale(value);
    return [
      text(PANEL.left - 6, middle, name, 'text-anchor="end"'),
      `<rect x="${PANEL.left}" y="${y}" width="${long.toFixed(1)}" height="${PANEL.bar}" fill="${COLOURS[name] ?? OURS}"/>`,
      text(PANEL.left + long + 4, middle, short(value), ""),
    ].join("");
  });
  const ticks = [0, end / 2, end].map((value) => {
    const x = PANEL.left + scale(value);
    return `<path d="M${x} ${PANEL.head - 4}V${bottom}" stroke="#d1d5db"/>${text(x, bottom + 12, short(value), 'text-anchor="middle" fill="#4b5563" font-size="10"')}`;
  });
  return [text(0, 12, title, 'font-weight="bold"'), text(0, 28, axis, 'fill="#4b5563" font-size="11"'), ...ticks, ...drawn].join("");
}

/** The next of 1, 2, 5, 10, 20, 50 and so on. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find((step) => step * power >= value) ?? 10) * power;
}

function short(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : String(Math.round(value * 10) / 10);
}

function text(x: number, y: number, words: string, attributes: string): string {
  const safe = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${safe}</text>`;
}

import { writeFile } from "node:fs/promises";
import { arch, cpus, loadavg, totalmem } from "node:os";
import { parseArgs } from "node:util";
import type { PartContext } from "@aibrix/devcluster";
import { arrivals, arrivalsText } from "./arrivals.ts";
import { atRest, atRestText } from "./at-rest.ts";
import { compare, variantOf } from "./compare.ts";
import type { Cell } from "./figures.ts";
import { plot } from "./plot.ts";
import { soak, soakText } from "./soak.ts";
import { streams, streamsText } from "./streams.ts";
import { markdown, table } from "./table.ts";
import { SHIPPED, VARIANTS } from "./variants.ts";

/*
 * What the gateway costs a request, beside Envoy alone and beside a minimal ext_proc server in Go, in one run and by turns, so that what else
 * runs on the machine disturbs all alike. A real Envoy, the gateway's own program with its real choice among engines; the engines are fakes
 * that answer at once. It prints and never judges.
 */

const SCENARIOS: Readonly<Record<string, { readonly does: string; readonly run: () => Promise<unknown> }>> = {
  compare: { does: "every variant with every kind of request (default)", run: runCompare },
  soak: { does: "very many requests over one ext_proc connection: failures and memory", run: runSoak },
  streams: { does: "very many event streams held at once: memory", run: runStreams },
  arrivals: { does: "adapters arrive while requests flow at a steady rate: added p99", run: runArrivals },
  "at-rest": { does: "an adapter that was updated beside ones that never were, once it rests: added latency, CPU time", run: runAtRest },
};

const USAGE = `Usage: npm run bench -- gateway [SCENARIO] [flags]

${list(SCENARIOS)}

Variants:
${list(VARIANTS)}

  --only NAME[,NAME…]   variants. Default: all for compare, else ${SHIPPED}
  --rounds N            of compare, arrivals and at-rest. Default: 3, 9 for at-rest
  --seconds S           of one turn. Default: 2 for compare, 20 for arrivals, 60 for streams, 4 for at-rest
  --bodies KB[,KB…]     of compare. Default: 1,32,256
  --concurrency N[,N…]  of compare, and of soak. Default: 1,32,128, and 128
  --modes M[,M…]        of compare: plain, events (server-sent events, 50 chunks), paced (plain at the rate that events had). Default: all
  --envoy-threads N     of compare. Default: 2
  --adapters N          that the gateway knows. Default: 1000
  --engines N           Default: 50
  --copies N            engines that have an adapter. Default: 2
  --requests N          of soak. Default: 500000
  --streams N           Default: 10000
  --arriving N          adapters that arrive. Default: 10000
  --rate N              requests per second while they do, and of at-rest. Default: 1000
  --smoke               a small size of everything, to see that it works
  --json FILE           write the figures there too
  --markdown FILE       write the table of compare there
  --plot FILE           write a picture of compare there, SVG
  --help

BENCH_NODE_FLAGS holds more flags of Node for the gateway's process, such as --cpu-prof.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    bodies: { type: "string" },
    concurrency: { type: "string" },
    modes: { type: "string", default: "plain,events,paced" },
    "envoy-threads": { type: "string", default: "2" },
    adapters: { type: "string", default: "1000" },
    engines: { type: "string", default: "50" },
    copies: { type: "string", default: "2" },
    requests: { type: "string" },
    streams: { type: "string" },
    arriving: { type: "string" },
    rate: { type: "string", default: "1000" },
    smoke: { type: "boolean", default: false },
    json: { type: "string" },
    markdown: { type: "string" },
    plot: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
const { smoke } = values;
const stop = new AbortController();
const context: PartContext = { log: (line) => process.stderr.write(`${line}\n`), signal: stop.signal };

if (values.help) process.stdout.write(USAGE);
else await measure();

async function measure(): Promise<void> {
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
  const [name = "compare", ...rest] = positionals;
  const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
  if (scenario === undefined || rest.length > 0)
    throw new Error(`${positionals.join(" ")}: write one of ${Object.keys(SCENARIOS).join(", ")}`);
  const before = machine();
  process.stdout.write(`${machineText(before)}\n`);
  try {
    const figures = await scenario.run();
    process.stdout.write(`load at the end ${machine().load}\n`);
    if (values.json !== undefined)
      await writeFile(
        values.json,
        `${JSON.stringify({ scenario: name, machine: before, loadAtEnd: machine().load, figures }, undefined, 1)}\n`,
      );
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    context.log((stop.signal.reason as Error).message);
    process.exitCode = 130;
  }
}

async function runCompare(): Promise<unknown> {
  const concurrencies = numbers("concurrency", values.concurrency ?? (smoke ? "8" : "1,32,128"), 1, 4_096);
  const kinds = values.modes.split(",").map((mode): Pick<Cell, "stream" | "paced"> => {
    if (mode === "paced") return { stream: false, paced: true };
    if (mode !== "plain" && mode !== "events") throw new Error(`--modes ${mode}: write some of plain, events and paced`);
    return { stream: mode === "events" };
  });
  if (kinds.some((kind, i) => kind.paced === true && !kinds.slice(0, i).some(({ stream }) => stream)))
    throw new Error(`--modes ${values.modes}: paced has the rate of the events, so write events before it`);
  const sizes = numbers("bodies", values.bodies ?? (smoke ? "1" : "1,32,256"), 1, 16_000);
  const variants = only(Object.keys(VARIANTS).filter((name) => VARIANTS[name]?.asked !== true));
  const cells = kinds.flatMap((kind) => sizes.flatMap((kib) => concurrencies.map((concurrency): Cell => ({ kib, concurrency, ...kind }))));
  const options = {
    ...placement(),
    variants,
    cells,
    rounds: number("rounds", values.rounds ?? (smoke ? "1" : "3"), 1, 100),
    seconds: number("seconds", values.seconds ?? (smoke ? "1" : "2"), 1, 600),
    envoyThreads: number("envoy-threads", values["envoy-threads"], 1, 64),
  };
  const started = machine();
  const figures = await compare(options, context);
  process.stdout.write(table(figures));
  if (values.markdown !== undefined) await writeFile(values.markdown, markdown(figures));
  if (values.plot !== undefined) {
    const [shown = 1] = concurrencies.includes(32) ? [32] : concurrencies;
    const subtitle = `${machineText(started)}; medians of ${options.rounds} rounds of ${options.seconds} s`;
    await writeFile(values.plot, plot(figures, shown, subtitle));
  }
  return figures;
}

async function runSoak(): Promise<unknown> {
  const [concurrency = 128] = numbers("concurrency", values.concurrency ?? "128", 1, 4_096);
  const requests = number("requests", values.requests ?? (smoke ? "2000" : "500000"), 1, 100_000_000);
  const all = await soak({ ...placement(), variants: only([SHIPPED]), requests, concurrency }, context);
  process.stdout.write(all.map(soakText).join(""));
  return all;
}

async function runStreams(): Promise<unknown> {
  const count = number("streams", values.streams ?? (smoke ? "100" : "10000"), 2, 100_000);
  const seconds = number("seconds", values.seconds ?? (smoke ? "3" : "60"), 1, 600);
  const all = await streams({ ...placement(), variants: only([SHIPPED]), streams: count, seconds }, context);
  process.stdout.write(all.map(streamsText).join(""));
  return all;
}

async function runArrivals(): Promise<unknown> {
  const all = await arrivals(
    {
      ...placement(),
      variants: only([SHIPPED]),
      arriving: number("arriving", values.arriving ?? (smoke ? "100" : "10000"), 1, 90_000),
      rate: number("rate", values.rate, 1, 100_000),
      seconds: number("seconds", values.seconds ?? (smoke ? "1" : "20"), 1, 600),
      rounds: number("rounds", values.rounds ?? (smoke ? "1" : "3"), 1, 100),
    },
    context,
  );
  process.stdout.write(all.map(arrivalsText).join(""));
  return all;
}

async function runAtRest(): Promise<unknown> {
  const figures = await atRest(
    {
      engines: number("engines", values.engines, 2, 500),
      rate: number("rate", values.rate, 1, 100_000),
      seconds: number("seconds", values.seconds ?? (smoke ? "1" : "4"), 1, 600),
      rounds: number("rounds", values.rounds ?? (smoke ? "2" : "9"), 1, 100),
    },
    context,
  );
  process.stdout.write(atRestText(figures));
  return figures;
}

function placement(): { readonly adapters: number; readonly engines: number; readonly copies: number } {
  const engines = number("engines", values.engines, 1, 500);
  return { adapters: number("adapters", values.adapters, 1, 9_999), engines, copies: number("copies", values.copies, 1, engines) };
}

/** The variants that were asked for. */
function only(others: readonly string[]): readonly string[] {
  const names = values.only?.split(",") ?? others;
  for (const name of names) variantOf(name);
  return names;
}

interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  /** Of the last minute. */
  readonly load: number;
}

function machine(): Machine {
  const all = cpus();
  return {
    date: new Date().toISOString().slice(0, 16),
    cpu: `${all[0]?.model ?? "unknown"}, ${arch()}`,
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
  };
}

function machineText({ date, cpu, cores, memoryGiB, node, load }: Machine): string {
  return `${date}Z, ${cores} cores (${cpu}), ${memoryGiB} GiB, Node ${node}, load before ${load}`;
}

function numbers(flag: string, text: string, min: number, max: number): readonly number[] {
  return text.split(",").map((part) => number(flag, part, min, max));
}

function number(flag: string, text: string, min: number, max: number): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < min || n > max) throw new Error(`--${flag} ${text}: write a number from ${min} to ${max}`);
  return n;
}

function list(all: Readonly<Record<string, { readonly does: string }>>): string {
  return Object.entries(all)
    .map(([name, { does }]) => `  ${name.padEnd(18)} ${does}`)
    .join("\n");
}

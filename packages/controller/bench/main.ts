import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { machine, type Report, text } from "./report.ts";
import { type Options, SCENARIOS } from "./scenarios.ts";

/*
 * What the controller takes for its work on a real API server: time, calls, CPU time and memory of its process. Engines and sidecars are
 * fakes that take one load at a time as real ones do, so that nothing but the controller and the API server is measured. It prints and never
 * judges: the figures are those of the machine and of what else runs there.
 */

const USAGE = `Usage: npm run bench -- controller [SCENARIO…] [flags]

Without a scenario: scale, with 200 adapters on 10 pods.

${Object.entries(SCENARIOS)
  .map(([name, { does }]) => `  ${name.padEnd(15)} ${does}`)
  .join("\n")}

  --adapters N    how many, where a scenario does not say it itself
  --pods N        as well
  --replicas N    as well
  --load-ms N     how long an engine takes for a load; one at a time. Default: 50
  --direct        engines without sidecar
  --minutes N     how long always-fail looks on, in minutes of its clock. Default: 10
  --clock N       how much faster that clock is than the real one. Default: 20
  --json FILE     write the figures there too
  --help
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    adapters: { type: "string" },
    pods: { type: "string" },
    replicas: { type: "string" },
    "load-ms": { type: "string", default: "50" },
    direct: { type: "boolean", default: false },
    minutes: { type: "string", default: "10" },
    clock: { type: "string", default: "20" },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) process.stdout.write(USAGE);
else await measure();

async function measure(): Promise<void> {
  const small = positionals.length === 0;
  const options: Options = {
    adapters: given("adapters", values.adapters) ?? (small ? 200 : undefined),
    pods: given("pods", values.pods) ?? (small ? 10 : undefined),
    replicas: given("replicas", values.replicas),
    loadMs: number("load-ms", values["load-ms"], 0, 60_000),
    direct: values.direct,
    minutes: number("minutes", values.minutes, 1, 60),
    clock: number("clock", values.clock, 1, 100),
  };
  const scenarios = (small ? ["scale"] : positionals).map((name) => {
    const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
    if (scenario === undefined) throw new Error(`${name}: write one of ${Object.keys(SCENARIOS).join(", ")}`);
    return scenario;
  });
  const reports: (Report & { readonly machine: ReturnType<typeof machine> })[] = [];
  for (const { run } of scenarios) {
    const before = machine();
    const report = await run(options);
    reports.push({ ...report, machine: before });
    process.stdout.write(`${text(report)}  ${before.cpus} cores, load before ${before.load}\n`);
  }
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(reports, undefined, 2)}\n`);
}

function given(flag: string, value: string | undefined): number | undefined {
  return value === undefined ? undefined : number(flag, value, 1, 10_000);
}

function number(flag: string, value: string, min: number, max: number): number {
  const n = Number(value);
  if (!Number.isInteger(n) || n < min || n > max) throw new Error(`--${flag} ${value}: write a number from ${min} to ${max}`);
  return n;
}

import type { PartContext } from "@aibrix/devcluster";
import { variantOf } from "./compare.ts";
import type { Loaded, Placement } from "./loader.ts";
import { memoryMib } from "./processes.ts";
import { Stage } from "./stage.ts";

export interface StreamsOptions extends Placement {
  readonly variants: readonly string[];
  readonly streams: number;
  /** How long a stream takes. */
  readonly seconds: number;
}

/** What very many streams at once did. */
export interface Streams {
  readonly variant: string;
  readonly streams: number;
  /** Until the last one had begun. */
  readonly heldAfterSeconds: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Streams of the ext_proc server while all are held, of the first Envoy. */
  readonly open: number;
  /** Memory of the ext_proc server, in MiB. */
  readonly mib: { readonly before: number; readonly held: number; readonly after: number; readonly peak: number };
}

const CHUNKS = 50;
/** Of half the streams each, since one of them would need more open files than many systems allow. */
const ENVOYS = 2;

/** Holds very many event streams at once, and looks at the ext_proc server's memory. */
export async function streams(options: StreamsOptions, context: PartContext): Promise<readonly Streams[]> {
  const all: Streams[] = [];
  for (const variant of options.variants) all.push(await streamsOne(variant, options, context));
  return all;
}

async function streamsOne(variant: string, options: StreamsOptions, context: PartContext): Promise<Streams> {
  const pauseMs = Math.ceil((options.seconds * 1000) / CHUNKS);
  await using stage = await Stage.start({ ...options, envoyThreads: 1, pauseMs }, context);
  const { server } = variantOf(variant);
  const subject = await stage.startVariant(variant, variantOf(variant), ENVOYS);
  const pid = subject.server?.pid;
  const memory = () => (pid === undefined ? { now: 0, peak: 0 } : memoryMib(pid));
  const body = await stage.body(1, true);
  const before = memory().now;
  const concurrency = Math.ceil(options.streams / ENVOYS);
  const loads = subject.to.map((to) =>
    stage.startLoad({
      to,
      body,
      concurrency,
      stream: true,
      hold: true,
      seconds: options.seconds + 120,
      checkEngine: server.kind === "gateway",
    }),
  );
  try {
    const begun = (await Promise.all(loads.map((load) => load.say()))) as { readonly heldAfterSeconds: number }[];
    const heldAfterSeconds = Math.max(...begun.map((b) => b.heldAfterSeconds));
    context.log(`${variant}: ${concurrency * ENVOYS} streams are held after ${heldAfterSeconds.toFixed(1)} s`);
    const held = memory().now;
    const open = await subject.stat("cluster.ext_proc.upstream_rq_active");
    const ends = (await Promise.all(loads.map((load) => load.say()))) as Loaded[];
    const failures: Record<string, number> = {};
    for (const end of ends) for (const [what, n] of Object.entries(end.failures)) failures[what] = (failures[what] ?? 0) + n;
    const { now: after, peak } = memory();
    return { variant, streams: concurrency * ENVOYS, heldAfterSeconds, failures, open, mib: { before, held, after, peak } };
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
}

/** The same in words. */
export function streamsText({ variant, streams, heldAfterSeconds, failures, open, mib }: Streams): string {
  const { before, held, after, peak } = mib;
  const whole = (value: number): string => `${Math.round(value)} MiB`;
  return [
    `streams of ${variant}: ${streams} held at once after ${heldAfterSeconds.toFixed(1)} s, failed ${JSON.stringify(failures)}`,
    `  memory ${whole(before)} before, ${whole(held)} while held, ${whole(after)} after, ${whole(peak)} at the most; ext_proc streams open while held: ${open}\n`,
  ].join("\n");
}

import type { Buckets } from "./histogram.ts";

/** What the client says of a load. */
export interface Loaded {
  readonly requests: number;
  readonly seconds: number;
  /** How many times what went wrong. */
  readonly failures: Readonly<Record<string, number>>;
  readonly latencies: Buckets;
}

/** What the client is told. */
export interface Load {
  /** `ip:port` */
  readonly to: string;
  /** A file with the body. */
  readonly body: string;
  readonly concurrency: number;
  readonly stream?: boolean;
  /** Until so many are sent. */
  readonly requests?: number;
  /** Or until so many seconds are over. */
  readonly seconds?: number;
  /** Requests per second, whatever the answers do. */
  readonly rate?: number;
  /** The number of the one adapter that is asked for; all in turn where it is absent. */
  readonly adapter?: number;
  /** Every connection sends one request, for a stream that is held. */
  readonly hold?: boolean;
  /** Whether an answer must be from an engine that has the adapter. */
  readonly checkEngine: boolean;
}

/** Adapters and engines: an adapter is on the engine of its number and on those after it. */
export interface Placement {
  readonly adapters: number;
  readonly engines: number;
  /** How many engines have an adapter. */
  readonly copies: number;
}

/** The numbers of the engines that have an adapter. */
export function enginesOf(adapter: number, { engines, copies }: Placement): number[] {
  return Array.from({ length: copies }, (_, i) => (adapter + i) % engines);
}

/** As an adapter is called. */
export function adapterName(number: number): string {
  return `adapter-${String(number).padStart(5, "0")}`;
}

/** The client's command line. */
export function loadArgs(load: Load, { adapters, engines, copies }: Placement): readonly string[] {
  const { to, body, concurrency, stream = false, hold = false, requests = 0, seconds, rate = 0, adapter, checkEngine } = load;
  return [
    "load",
    `-to=${to}`,
    `-body=${body}`,
    `-concurrency=${concurrency}`,
    `-stream=${stream}`,
    `-hold=${hold}`,
    `-requests=${requests}`,
    ...(seconds === undefined ? [] : [`-duration=${seconds}s`]),
    `-rate=${rate}`,
    `-adapters=${adapter === undefined ? adapters : 1}`,
    `-first=${adapter ?? 0}`,
    `-engines=${engines}`,
    `-copies=${copies}`,
    `-check-engine=${checkEngine}`,
  ];
}

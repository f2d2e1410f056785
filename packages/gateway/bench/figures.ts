import { median } from "./histogram.ts";

/** One combination of what requests can be like. */
export interface Cell {
  readonly kib: number;
  readonly concurrency: number;
  readonly stream: boolean;
  /** Plain requests that are as many in a second as the same variant's event streams were in the same round, not as many as can be. */
  readonly paced?: true;
}

/** What one turn of a variant gave. */
export interface Sample {
  readonly requests: number;
  readonly failures: number;
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU time of the ext_proc server for each request; undefined where there is none. */
  readonly cpuUs: number | undefined;
  /** Calls of the system with which the server read, for each request: below one where it found several requests each time. */
  readonly reads: number | undefined;
  /** CPU time of Envoy for each request. */
  readonly envoyCpuUs: number;
}

/** Medians of a variant's turns. */
export interface Figures {
  readonly variant: string;
  readonly requests: number;
  readonly failures: number;
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUs?: number;
  readonly reads?: number;
  readonly envoyCpuUs: number;
  /** Above Envoy without ext_proc in the same round. */
  readonly addedP50Us?: number;
  readonly addedP99Us?: number;
  /** So many times the peer's figure. */
  readonly ofPeer?: { readonly cpu: number; readonly addedP50: number; readonly addedP99: number; readonly requestsPerSecond: number };
  /** Of an event stream: CPU time, so many times that of the same variant's plain requests. */
  readonly ofPlainCpu?: number;
  /** The same beside its plain requests at the streams' own rate: what the chunks cost, without what fewer requests in a second do. */
  readonly ofPacedCpu?: number;
}

/** A cell with what was measured in it. */
export interface CellFigures extends Cell {
  readonly variants: readonly Figures[];
}

/** Every variant's turns in a cell; the rounds are in the same order for all. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

/**
 * Medians and ratios.
 *
 * @param limit - the variant without ext_proc
 * @param peer - the variant that the others are compared with
 */
export function cellFigures(cell: Cell, samples: Samples, limit: string, peer: string): CellFigures {
  const limits = samples.get(limit);
  const plain = [...samples].map(([variant, all]) => figuresOf(variant, all, variant === limit ? undefined : limits));
  const peers = plain.find((f) => f.variant === peer);
  return { ...cell, variants: plain.map((f) => (peers === undefined || f === peers ? f : withPeer(f, peers))) };
}

function figuresOf(variant: string, all: readonly Sample[], limits: readonly Sample[] | undefined): Figures {
  const of = (read: (s: Sample) => number): number => median(all.map(read));
  const above = (read: (s: Sample) => number): number =>
    median(all.flatMap((s, round) => (limits?.[round] === undefined ? [] : [read(s) - read(limits[round])])));
  const cpu = all.flatMap(({ cpuUs }) => cpuUs ?? []);
  const reads = all.flatMap((s) => s.reads ?? []);
  return {
    variant,
    requests: all.reduce((sum, s) => sum + s.requests, 0),
    failures: all.reduce((sum, s) => sum + s.failures, 0),
    requestsPerSecond: of((s) => s.requestsPerSecond),
    p50Us: of((s) => s.p50Us),
    p99Us: of((s) => s.p99Us),
    ...(cpu.length === 0 ? {} : { cpuUs: median(cpu) }),
    ...(reads.length === 0 ? {} : { reads: median(reads) }),
    envoyCpuUs: of((s) => s.envoyCpuUs),
    ...(limits === undefined ? {} : { addedP50Us: above((s) => s.p50Us), addedP99Us: above((s) => s.p99Us) }),
  };
}

function withPeer(f: Figures, peer: Figures): Figures {
  if (f.cpuUs === undefined || peer.cpuUs === undefined) return f;
  const { addedP50Us = Number.NaN, addedP99Us = Number.NaN } = f;
  const ofPeer = {
    cpu: f.cpuUs / peer.cpuUs,
    addedP50: addedP50Us / (peer.addedP50Us ?? Number.NaN),
    addedP99: addedP99Us / (peer.addedP99Us ?? Number.NaN),
    requestsPerSecond: f.requestsPerSecond / peer.requestsPerSecond,
  };
  return { ...f, ofPeer };
}

/** Sets event streams beside the plain requests of their kind, as many as can be and at the streams' own rate. */
export function withPlain(cells: readonly CellFigures[]): readonly CellFigures[] {
  return cells.map((cell) => {
    if (!cell.stream) return cell;
    const beside = (f: Figures, paced: boolean): number | undefined => {
      const plain = cells.find(
        (c) => !c.stream && (c.paced === true) === paced && c.kib === cell.kib && c.concurrency === cell.concurrency,
      );
      const cpuUs = plain?.variants.find((p) => p.variant === f.variant)?.cpuUs;
      return f.cpuUs === undefined || cpuUs === undefined ? undefined : f.cpuUs / cpuUs;
    };
    const variants = cell.variants.map((f) => {
      const [ofPlainCpu, ofPacedCpu] = [beside(f, false), beside(f, true)];
      return { ...f, ...(ofPlainCpu === undefined ? {} : { ofPlainCpu }), ...(ofPacedCpu === undefined ? {} : { ofPacedCpu }) };
    });
    return { ...cell, variants };
  });
}

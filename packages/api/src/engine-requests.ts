/** What `vllm:lora_requests_info` says now: of its series the one with the latest time counts, old ones stay. */
interface LoraRequests {
  readonly maxLoras: number | undefined;
  /** Names of adapters whose requests run or wait, as far as the engine has begun with them. */
  readonly names: ReadonlySet<string>;
}

function loraRequests(page: string): LoraRequests | undefined {
  let latest: { readonly time: number; readonly labels: string } | undefined;
  for (const [, labels = "", value] of page.matchAll(/^vllm:lora_requests_info\{([^}]*)\} (\S+)/gm))
    if (latest === undefined || Number(value) > latest.time) latest = { time: Number(value), labels };
  if (latest === undefined) return undefined;
  const { labels } = latest;
  const labelled = (label: string) => new RegExp(`(?:^|,)${label}="([^"]*)"`).exec(labels)?.[1] ?? "";
  const names = `${labelled("running_lora_adapters")},${labelled("waiting_lora_adapters")}`.split(",").filter((name) => name !== "");
  const maxLoras = Number(labelled("max_lora"));
  return { maxLoras: Number.isInteger(maxLoras) && maxLoras > 0 ? maxLoras : undefined, names: new Set(names) };
}

/** Names of adapters that a page of the engine's metrics shows as having requests. Pure. */
export function adaptersInUse(page: string): ReadonlySet<string> {
  return loraRequests(page)?.names ?? new Set();
}

/** The engine's `--max-loras`, where a page of its metrics shows it: vLLM's do once a request has run. Pure. */
export function maxLorasOf(page: string): number | undefined {
  return loraRequests(page)?.maxLoras;
}

/**
 * Whether an engine has slots for the old and the new content of an adapter at once, besides what runs. Pure. Where its metrics have not
 * shown how many it has, or requests wait for one, it has none.
 */
export function hasRoomFor(page: string, name: string): boolean {
  const requests = loraRequests(page);
  if (requests?.maxLoras === undefined || sum(page, "vllm:num_requests_waiting") !== 0) return false;
  return new Set([...requests.names, name]).size + 1 <= requests.maxLoras;
}

/**
 * Which contents of an engine may be swapped while they have requests. Old and new content at once need a slot each, so a second swap with requests
 * of the first one's old content still there could end the engine (a name alone does not tell whose requests run): a swap that did not wait for its
 * requests leaves its name behind, and until that name was seen without requests once, or the engine is another one, all others wait.
 */
export class SwapRoom {
  readonly #crowded = new Set<string>();

  /** Whether somebody waits, or would have to. */
  get isCrowded(): boolean {
    return this.#crowded.size > 0;
  }

  /** A page of the engine's metrics that somebody looked at. */
  note(page: string): void {
    for (const name of this.#crowded) if (requestsOf(page, name) === "none") this.#crowded.delete(name);
  }

  /** Takes the room that there is for both contents of a name, which is noted: whether there is any. */
  take(page: string, name: string): boolean {
    if (this.#crowded.size > 0 || !hasRoomFor(page, name)) return false;
    this.#crowded.add(name);
    return true;
  }

  /** A name is swapped though it has requests. */
  crowds(name: string): void {
    this.#crowded.add(name);
  }

  /** The engine is another process. */
  clear(): void {
    this.#crowded.clear();
  }
}

/** How an engine that drains is looked at, in milliseconds. */
export const DRAIN = {
  /** Until the first look: requests that were sent before whoever routes them heard of it have arrived by then. */
  firstLookMs: 1_000,
  periodMs: 500,
  /** The same where new content keeps its readers waiting for the old one's requests. */
  swapPeriodMs: 100,
  /**
   * How long new content waits for requests of the old to end, where nobody says otherwise. Less than the gateway holds requests for a name that
   * nothing else serves (`--update-hold`, 30 s): what it took in as the wait began is to be answered by the new content, once that is loaded and
   * listed.
   */
  swapGraceMs: 25_000,
  /** How long is waited where the engine's metrics cannot be read. */
  blindMs: 5_000,
} as const;

/**
 * Whether requests of an adapter run or wait. Pure. Names of waiting requests are in no label before the engine has begun with them, so while
 * any request waits, it may be one.
 *
 * @returns `unknown` where the page has none of vLLM's numbers
 */
export function requestsOf(page: string, name: string): "some" | "none" | "unknown" {
  const [running, waiting] = [sum(page, "vllm:num_requests_running"), sum(page, "vllm:num_requests_waiting")];
  if (running === undefined || waiting === undefined) return "unknown";
  if (running + waiting === 0) return "none";
  if (waiting > 0 || loraRequests(page)?.names.has(name) === true) return "some";
  return "none";
}

/** Of all engines of the server; `undefined` where there is no such number. */
function sum(page: string, metric: string): number | undefined {
  const values = [...page.matchAll(new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)`, "gm"))].map(([, value]) => Number(value));
  return values.length === 0 || values.some(Number.isNaN) ? undefined : values.reduce((a, b) => a + b, 0);
}

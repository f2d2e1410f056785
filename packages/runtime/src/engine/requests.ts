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

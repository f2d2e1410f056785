/** One engine-neutral metric: what it is called, and what engines call the same, the best first. */
interface NeutralMetric {
  readonly name: string;
  readonly sources: readonly string[];
}

/**
 * The names that AIBrix's dashboards and autoscalers read, whatever the engine. vLLM renamed two of its own over time:
 * `gpu_cache_usage_perc` became `kv_cache_usage_perc`, `time_per_output_token_seconds` became `inter_token_latency_seconds`.
 */
const NEUTRAL_METRICS: readonly NeutralMetric[] = [
  { name: "aibrix:queue_size", sources: ["vllm:num_requests_waiting"] },
  { name: "aibrix:kv_cache_usage_perc", sources: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] },
  { name: "aibrix:prompt_tokens_total", sources: ["vllm:prompt_tokens_total"] },
  { name: "aibrix:generation_tokens_total", sources: ["vllm:generation_tokens_total"] },
  { name: "aibrix:time_to_first_token_seconds", sources: ["vllm:time_to_first_token_seconds"] },
  {
    name: "aibrix:time_per_output_token_seconds",
    sources: ["vllm:time_per_output_token_seconds", "vllm:inter_token_latency_seconds"],
  },
  { name: "aibrix:e2e_request_latency_seconds", sources: ["vllm:e2e_request_latency_seconds"] },
  { name: "aibrix:request_success_total", sources: ["vllm:request_success_total"] },
];

/** Names that one source's lines begin with, with the metric that they are copied to: histograms have three of samples. */
const TARGETS: ReadonlyMap<string, { readonly metric: NeutralMetric; readonly source: string; readonly name: string }> = new Map(
  NEUTRAL_METRICS.flatMap((metric) =>
    metric.sources.flatMap((source) =>
      ["", "_bucket", "_sum", "_count"].map(
        (suffix) => [`${source}${suffix}`, { metric, source, name: `${metric.name}${suffix}` }] as const,
      ),
    ),
  ),
);

/** `# HELP name …` and `# TYPE name …`, with the name apart. */
const COMMENT = /^# (?:HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*)/;
/** A sample: name, labels, value, and perhaps a time in milliseconds. */
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?[ \t]+(?:[-+]?(?:\d|\.\d)\S*|[-+]?Inf|NaN)(?:[ \t]+-?\d+)?[ \t]*$/i;
/** Our own names, which another process must not show a second time. */
const OWN = "aibrix_runtime_";

/** Something that an engine sent as its metrics, and that a Prometheus would not read. */
export class ExpositionError extends Error {
  override readonly name = "ExpositionError";
}

/**
 * An engine's metrics page as it is, with copies under engine-neutral names at its end.
 *
 * @param page - Prometheus' text format 0.0.4
 * @returns lines without our own names, with a line feed at the end; empty for an empty page
 * @throws ExpositionError naming the first line that is none: one such line makes a scrape of everything fail
 */
export function withNeutralCopies(page: string): string {
  const kept: string[] = [];
  const copies = new Map<string, string[]>();
  const taken = new Set<string>();
  for (const raw of page.split("\n")) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") continue;
    const name = (line.startsWith("#") ? COMMENT : SAMPLE).exec(line)?.[1];
    if (name === undefined) {
      if (line.startsWith("#")) continue; // A comment that says nothing, `# EOF` among them.
      throw new ExpositionError(`"${line.slice(0, 100)}" is no line of Prometheus' text format`);
    }
    if (name.startsWith(OWN)) continue;
    kept.push(line);
    if (name.startsWith("aibrix:")) taken.add(name);
    const target = TARGETS.get(name);
    if (target === undefined) continue;
    const lines = copies.get(target.source) ?? [];
    lines.push(line.replace(name, target.name));
    copies.set(target.source, lines);
  }
  for (const { name, sources } of NEUTRAL_METRICS) {
    const best = sources.map((s) => copies.get(s)).find((lines) => lines?.some((l) => !l.startsWith("#")));
    if (best !== undefined && !taken.has(name)) kept.push(...best);
  }
  return kept.length === 0 ? "" : `${kept.join("\n")}\n`;
}

import { describe, expect, test } from "vitest";
import { ExpositionError, withNeutralCopies } from "./exposition.ts";

const page = (...lines: readonly string[]) => `${lines.join("\n")}\n`;
const added = (before: string) => withNeutralCopies(before).slice(before.length);

test("a page passes as it is, with copies at its end: gauge, counter and histogram, labels and all", () => {
  const before = page(
    "# HELP vllm:num_requests_waiting Waiting.",
    "# TYPE vllm:num_requests_waiting gauge",
    'vllm:num_requests_waiting{model_name="a} b",engine="0"} 3.0',
    "# TYPE vllm:num_requests_waiting_by_reason gauge",
    'vllm:num_requests_waiting_by_reason{reason="x"} 1',
    "# HELP vllm:prompt_tokens_total Tokens.",
    "# TYPE vllm:prompt_tokens_total counter",
    'vllm:prompt_tokens_total{engine="0"} 1.5e+09',
    "# TYPE vllm:e2e_request_latency_seconds histogram",
    'vllm:e2e_request_latency_seconds_bucket{le="0.3"} 1.0',
    'vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 2.0',
    "vllm:e2e_request_latency_seconds_count 2.0",
    "vllm:e2e_request_latency_seconds_sum NaN",
  );
  expect(withNeutralCopies(before).startsWith(before)).toBe(true);
  expect(added(before)).toBe(
    page(
      "# HELP aibrix:queue_size Waiting.",
      "# TYPE aibrix:queue_size gauge",
      'aibrix:queue_size{model_name="a} b",engine="0"} 3.0',
      "# HELP aibrix:prompt_tokens_total Tokens.",
      "# TYPE aibrix:prompt_tokens_total counter",
      'aibrix:prompt_tokens_total{engine="0"} 1.5e+09',
      "# TYPE aibrix:e2e_request_latency_seconds histogram",
      'aibrix:e2e_request_latency_seconds_bucket{le="0.3"} 1.0',
      'aibrix:e2e_request_latency_seconds_bucket{le="+Inf"} 2.0',
      "aibrix:e2e_request_latency_seconds_count 2.0",
      "aibrix:e2e_request_latency_seconds_sum NaN",
    ),
  );
});

describe("a metric that vLLM renamed", () => {
  const old = ["# TYPE vllm:gpu_cache_usage_perc gauge", "vllm:gpu_cache_usage_perc 0.25"];
  const now = ["# TYPE vllm:kv_cache_usage_perc gauge", "vllm:kv_cache_usage_perc 0.5"];
  test.each([
    { name: "only the old name", lines: old, value: "0.25" },
    { name: "only the new one", lines: now, value: "0.5" },
    { name: "both", lines: [...old, ...now], value: "0.5" },
    { name: "the new one without a sample", lines: [now[0] ?? "", ...old], value: "0.25" },
  ])("$name: one copy", ({ lines, value }) => {
    expect(added(page(...lines))).toBe(page("# TYPE aibrix:kv_cache_usage_perc gauge", `aibrix:kv_cache_usage_perc ${value}`));
  });

  test("the time between tokens is the time per output token", () => {
    expect(added(page("vllm:inter_token_latency_seconds_sum 2"))).toBe("aibrix:time_per_output_token_seconds_sum 2\n");
  });
});

test("an engine that has the neutral name itself keeps it", () => {
  expect(added(page("vllm:num_requests_waiting 3", "aibrix:queue_size 4"))).toBe("");
});

test("names of ours and idle comments are left out, so that none comes twice", () => {
  expect(withNeutralCopies("# EOF\n# x\n# TYPE aibrix_runtime_engine_up gauge\naibrix_runtime_engine_up 1\r\nup 1\r\n")).toBe("up 1\n");
  expect(withNeutralCopies("")).toBe("");
});

test.each(["<!doctype html>", "up", "up one", "1up 1", 'up{a="b" 1', "up 1 2 3"])("%j is no page", (line) => {
  expect(() => withNeutralCopies(`good 1\n${line}\n`)).toThrow(ExpositionError);
});

test.each(["up -1", "up +Inf", "up .5", "up 1 1700000000000", 'up{a="x\\"} y"} 0'])("%j is a sample", (line) => {
  expect(withNeutralCopies(line)).toBe(`${line}\n`);
});

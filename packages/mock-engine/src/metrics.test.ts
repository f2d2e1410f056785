import { describe, expect, test } from "vitest";
import { Histogram } from "./histogram.ts";
import { Metrics } from "./metrics.ts";
import { Scheduler } from "./scheduler.ts";

function series(page: string): string[] {
  return page.split("\n").filter((line) => line.startsWith("vllm:lora_requests_info{"));
}

function create(maxLoras: number | undefined): Metrics {
  return new Metrics({ modelName: "base", maxLoras, startSeconds: 1_700_000_000.25 });
}

describe("vllm:lora_requests_info", () => {
  test("keeps a series for each combination, and refreshes the current one while requests run", async () => {
    const metrics = create(2);
    const scheduler = new Scheduler({ maxSeqs: 8, maxLoras: 2 });
    metrics.observe({ scheduler, kvCacheUsage: () => 0 });
    for (const names of [["a"], ["a", "b"], ["a"]]) metrics.adaptersRunning(names);
    expect(scheduler.acquire({ id: 1, name: "a" }, new AbortController().signal)).toBeUndefined();
    const lines = series(await metrics.page());
    expect(lines).toHaveLength(2);
    const newest = lines.sort((x, y) => Number(y.split(" ").at(-1)) - Number(x.split(" ").at(-1)))[0];
    expect(newest).toContain('{max_lora="2",running_lora_adapters="a",waiting_lora_adapters="a"}');
    const again = series(await metrics.page()).filter((line) => line.includes('="a,b"'));
    expect(again).toEqual(lines.filter((line) => line.includes('="a,b"')));
  });

  test("is not there without adapters", async () => {
    expect(await create(undefined).page()).not.toContain("lora_requests_info");
  });
});

test("tells when the engine started and how requests ended", async () => {
  const metrics = create(undefined);
  metrics.finished("length", 3, 5);
  metrics.finished("abort", 4, 0);
  const page = await metrics.page();
  expect(page).toContain("process_start_time_seconds 1700000000.25\n");
  expect(page).toContain('vllm:request_success_total{engine="0",model_name="base",finished_reason="length"} 1\n');
  expect(page).toContain('vllm:prompt_tokens_total{engine="0",model_name="base"} 7\n');
  expect(await metrics.page()).toBe(page);
});

test("takes the times of tokens and of whole requests, of each answer", async () => {
  const metrics = create(undefined);
  const watch = metrics.stopwatch(2);
  for (let i = 0; i < 3; i++) watch.token();
  const labels = 'engine="0",model_name="base"';
  const counts = (page: string) =>
    ["time_to_first_token", "inter_token_latency", "e2e_request_latency"].map(
      (name) => new RegExp(`^vllm:${name}_seconds_count{${labels}} (.*)$`, "m").exec(page)?.[1],
    );
  expect(counts(await metrics.page())).toEqual(["2.0", "4.0", "0.0"]);
  watch.end();
  expect(counts(await metrics.page())).toEqual(["2.0", "4.0", "2.0"]);
});

test("a histogram counts a value in its bucket and in all above", () => {
  const histogram = new Histogram("x", "Help.", { engine: "0", model_name: "base" }, [0.5, 1, 2.5]);
  for (const value of [0.5, 0.75, 9]) histogram.observe(value);
  histogram.observe(2, 3);
  expect(histogram.text()).toBe(`# HELP x Help.
# TYPE x histogram
x_bucket{engine="0",le="0.5",model_name="base"} 1.0
x_bucket{engine="0",le="1.0",model_name="base"} 2.0
x_bucket{engine="0",le="2.5",model_name="base"} 5.0
x_bucket{engine="0",le="+Inf",model_name="base"} 6.0
x_count{engine="0",model_name="base"} 6.0
x_sum{engine="0",model_name="base"} 16.25
`);
});

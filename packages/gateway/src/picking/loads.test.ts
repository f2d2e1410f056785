import { expect, test } from "vitest";
import { Loads } from "./loads.ts";
import { requestsIn } from "./metrics-page.ts";

test("what was sent counts less and less", () => {
  const loads = new Loads();
  for (let i = 0; i < 8; i++) loads.onSent("a", 0);
  expect(loads.of("a", 0)).toBe(8);
  expect(loads.of("a", 2_000)).toBe(4);
  expect(loads.of("b", 0)).toBe(0);
});

test("a report counts for what was sent before the engine was asked, and for nothing that was sent after", () => {
  const loads = new Loads();
  loads.onSent("a", 0);
  loads.onSent("a", 0);
  loads.onAsked("a", 0);
  loads.onSent("a", 0);
  expect(loads.of("a", 0)).toBe(3);
  loads.onReported("a", 10, 0);
  expect(loads.of("a", 0)).toBe(11);
});

test("an engine that was asked in vain keeps what was sent to it", () => {
  const loads = new Loads();
  loads.onSent("a", 0);
  loads.onAsked("a", 0);
  loads.onSent("a", 0);
  loads.onAsked("a", 0);
  expect(loads.of("a", 0)).toBe(2);
});

test("an old report says nothing any more", () => {
  const loads = new Loads();
  loads.onReported("a", 10, 0);
  expect(loads.of("a", 10_000)).toBe(10);
  expect(loads.of("a", 10_001)).toBe(0);
});

test("an engine is asked soon where a choice was made by it or a request was sent, else now and then", () => {
  const loads = new Loads();
  expect(loads.isDue("a", 0)).toBe(true);
  loads.onAsked("a", 0);
  loads.onReported("a", 1, 1);
  expect([loads.isDue("a", 3_999), loads.isDue("a", 4_000)]).toEqual([false, true]);
  loads.of("a", 500);
  expect(loads.isDue("a", 501)).toBe(true);
  loads.onAsked("a", 1_000);
  expect([loads.isDue("a", 1_001), loads.isDue("a", 5_000)]).toEqual([false, true]);
  // Without a choice, for it was the only one.
  loads.onSent("a", 1_500);
  expect(loads.isDue("a", 1_501)).toBe(true);
});

test("engines that are long gone are forgotten, others are not", () => {
  const loads = new Loads();
  for (let i = 0; i < 1_024; i++) loads.onReported(`old${i}`, 1, 0);
  loads.onReported("kept", 7, 19_000);
  for (let i = 0; i < 1_024; i++) loads.onSent(`new${i}`, 21_000);
  expect(loads.of("kept", 21_000)).toBe(7);
  expect(loads.of("old1", 9_000)).toBe(0);
});

test("the requests of a metrics page are those that run and that wait, of all its engine cores", () => {
  const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="base"} 3.0
vllm:num_requests_running{engine="1",model_name="base"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a b"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 1.0
vllm:num_requests_running_total 99
`;
  expect(requestsIn(Buffer.from(page))).toBe(6);
  expect(requestsIn(Buffer.from(page.trimEnd()))).toBe(6);
});

test("a page without them says nothing", () => {
  for (const page of [
    "",
    "vllm:num_requests_running{} NaN\n",
    "other 1\n",
    "# vllm:num_requests_running 1\n",
    "vllm:num_requests_running",
  ]) {
    expect(requestsIn(Buffer.from(page))).toBeUndefined();
  }
});

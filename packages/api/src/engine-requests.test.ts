import { expect, test } from "vitest";
import { adaptersInUse, maxLorasOf, requestsOf } from "./engine-requests.ts";

const series = (running: string, waiting: string, time: string) =>
  `vllm:lora_requests_info{max_lora="2",running_lora_adapters="${running}",waiting_lora_adapters="${waiting}"} ${time}\n`;

test.each([
  { name: "no such metric", page: "vllm:num_requests_running 1\n", want: [] },
  { name: "nothing ever ran", page: series("", "", "1.7e+09"), want: [] },
  { name: "what runs and what waits", page: series("a,b", "b,c", "1.7e+09"), want: ["a", "b", "c"] },
  {
    name: "the latest series, in whatever order",
    page: series("now", "", "1.7000002e+09") + series("before", "", "1.7000001e+09"),
    want: ["now"],
  },
  { name: "nothing runs now", page: series("before", "", "1.7000001e+09") + series("", "", "1.7000002e+09"), want: [] },
  { name: "a page that is cut off", page: 'vllm:lora_requests_info{max_lora="2",runn', want: [] },
])("$name", ({ page, want }) => {
  expect([...adaptersInUse(page)]).toEqual(want);
});

test.each([
  { name: "no such metric", page: "vllm:num_requests_running 1\n", want: undefined },
  { name: "as the labels say", page: series("a", "", "1.7e+09"), want: 2 },
  { name: "something that is no number", page: 'vllm:lora_requests_info{max_lora="x",running_lora_adapters=""} 1\n', want: undefined },
])("the engine's --max-loras: $name", ({ page, want }) => {
  expect(maxLorasOf(page)).toBe(want);
});

const counts = (running: number, waiting: number) =>
  `vllm:num_requests_running{engine="0",model_name="b"} ${running}.0\nvllm:num_requests_waiting{engine="0",model_name="b"} ${waiting}.0\nvllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9\n`;

test.each([
  { name: "nothing runs, whatever ran before", page: counts(0, 0) + series("a", "a", "1.7e+09"), want: "none" },
  { name: "it runs", page: counts(1, 0) + series("b,a", "b,a", "1.7e+09"), want: "some" },
  { name: "others run", page: counts(2, 0) + series("b", "b", "1.7e+09"), want: "none" },
  { name: "it ran before, others run now", page: counts(1, 0) + series("a", "a", "1.7e+09") + series("b", "b", "1.8e+09"), want: "none" },
  { name: "something waits, nobody knows what", page: counts(2, 1) + series("b", "b", "1.7e+09"), want: "some" },
  { name: "the base model runs alone", page: counts(1, 0), want: "none" },
  { name: "a second engine of the server", page: counts(0, 0) + counts(0, 1), want: "some" },
  { name: "another kind of engine", page: "up 1\n", want: "unknown" },
  { name: "something that is no number", page: "vllm:num_requests_running x\nvllm:num_requests_waiting 0\n", want: "unknown" },
])("requests of a: $name", ({ page, want }) => {
  expect(requestsOf(page, "a")).toBe(want);
});

import { expect, test } from "vitest";
import { adaptersInUse, maxLorasOf } from "./requests.ts";

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

import { expect, test } from "vitest";
import { Superseded } from "./superseded.ts";

const page = (...names: readonly string[]) =>
  `vllm:num_requests_running ${names.length}\nvllm:num_requests_waiting 0\nvllm:lora_requests_info{running_lora_adapters="${names.join(",")}",max_lora="4",waiting_lora_adapters=""} 1\n`;

function noted(): Superseded {
  const superseded = new Superseded();
  superseded.note("x", ["one"], 0);
  superseded.note("x", ["one", "two"], 30_000);
  return superseded;
}

test.each([
  { name: "a minute after it was replaced, a name without requests", at: 60_000, page: page("y"), want: ["one"] },
  { name: "each counts from its own time", at: 90_000, page: page(), want: ["one", "two"] },
  { name: "not before", at: 59_999, page: page(), want: undefined },
  { name: "not while the name has requests", at: 90_000, page: page("y", "x"), want: undefined },
  { name: "not by a page that says nothing", at: 90_000, page: "", want: undefined },
])("$name", ({ at, page, want }) => {
  expect(noted().take(page, at).get("x")).toEqual(want);
});

test("what was taken, has come back, or was of another engine is not taken again", () => {
  const taken = noted();
  taken.take(page(), 60_000);
  expect(taken.take(page(), 90_000).get("x")).toEqual(["two"]);
  expect(taken.take(page(), 90_000).size).toBe(0);
  const back = noted();
  back.note("x", ["two"], 60_000);
  expect(back.take(page(), 90_000).get("x")).toEqual(["two"]);
  for (const end of [
    (s: Superseded) => s.onAnotherEngine(),
    (s: Superseded) => s.forget("x"),
    (s: Superseded) => s.note("x", [], 60_000),
  ]) {
    const ended = noted();
    end(ended);
    expect(ended.take(page(), 90_000).size).toBe(0);
  }
});

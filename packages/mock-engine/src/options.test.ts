import { expect, test } from "vitest";
import { resolveOptions } from "./options.ts";

test("memory holds as many adapters as run, unless told otherwise", () => {
  expect(resolveOptions({ maxLoras: 4 })).toMatchObject({ maxLoras: 4, maxCpuLoras: 4, maxLoraRank: 16 });
  expect(resolveOptions({})).toMatchObject({ maxLoras: 1, maxCpuLoras: 1 });
});

test("the base model is called as it is, unless told otherwise", () => {
  expect(resolveOptions({ model: "m" }).servedModelNames).toEqual(["m"]);
  expect(resolveOptions({ model: "m", servedModelNames: ["a", "b"] }).servedModelNames).toEqual(["a", "b"]);
});

test.each([
  [{ maxLoras: 3, maxCpuLoras: 2 }, "max_cpu_loras (2) must be >= max_loras (3)."],
  [{ maxLoras: 0 }, "max_loras (0) must be >= 1."],
  [{ maxLoraRank: 7 }, "max_lora_rank (7) must be one of 1, 8, 16, 32, 64, 128, 256, 320, 512."],
])("%j is refused", (input, message) => {
  expect(() => resolveOptions(input)).toThrow(message);
});

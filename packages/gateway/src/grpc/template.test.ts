import { expect, test } from "vitest";
import { templated } from "./template.ts";

const encode = (text: string): Buffer => Buffer.from(`<${text.length}:${text}|${text}>`);

test("writes what the encoder writes, and asks it twice for each length", () => {
  let asked = 0;
  const write = templated((text) => {
    asked += 1;
    return encode(text);
  });
  for (const text of ["a", "b", "10.0.0.1:8000", "10.0.0.2:8000", "b".repeat(126), "~".repeat(126)]) {
    expect(write(text).toString()).toBe(encode(text).toString());
  }
  expect(asked).toBe(6);
  expect(write("x".repeat(2_000)).toString()).toBe(encode("x".repeat(2_000)).toString());
  expect(write("").toString()).toBe("<0:|>");
});

test("refuses a message that holds its text once, or three times", () => {
  expect(() => templated((text) => Buffer.from(text))("a")).toThrow("twice");
  expect(() => templated((text) => Buffer.from(`${text},${text},${text}`))("a")).toThrow("twice");
});

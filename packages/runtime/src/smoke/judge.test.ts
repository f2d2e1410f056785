import type { SmokeCheck } from "@aibrix/api";
import { expect, test } from "vitest";
import { badPattern, judge, type SmokeAnswer } from "./judge.ts";

type Expect = Partial<SmokeCheck["expect"]>;

function check(expected: Expect, more: Partial<SmokeCheck> = {}): SmokeCheck {
  return { prompt: "hello", max_tokens: 16, ...more, expect: { status: 200, not_empty: true, max_latency_ms: 1_000, ...expected } };
}

const says = (text: string | null, latencyMs = 10): SmokeAnswer => ({
  status: 200,
  body: JSON.stringify({ choices: [{ text, message: { content: text } }] }),
  latencyMs,
});

test.each<{ name: string; expect: Expect; answer: SmokeAnswer; want?: RegExp }>([
  { name: "text", expect: {}, answer: says("SELECT 1") },
  { name: "the part that is wanted", expect: { contains: "LECT" }, answer: says("SELECT 1") },
  { name: "the pattern", expect: { matches: "(?i)^select\\s\\d+$" }, answer: says("SELECT 1") },
  { name: "nothing, which is fine", expect: { not_empty: false }, answer: says("") },
  {
    name: "a refusal that is wanted",
    expect: { status: 400, contains: "too long" },
    answer: { status: 400, body: "too long", latencyMs: 1 },
  },
  { name: "only white space", expect: {}, answer: says(" \n"), want: /^check 3 failed: expected a text that is not empty, got " \\n"$/ },
  { name: "no content", expect: {}, answer: says(null), want: /expected a text that is not empty, got ""/ },
  { name: "other text", expect: { contains: "select" }, answer: says("SELECT"), want: /expected a text with "select" in it, got "SELECT"/ },
  { name: "what no pattern matches", expect: { matches: "^\\d" }, answer: says("x1"), want: /matches "\^\\\\d", got "x1"/ },
  { name: "another status", expect: {}, answer: { status: 500, body: "boom", latencyMs: 1 }, want: /expected HTTP 200, got 500: "boom"/ },
  { name: "a success where a refusal is wanted", expect: { status: 400 }, answer: says("x"), want: /expected HTTP 400, got 200/ },
  { name: "late", expect: { max_latency_ms: 5 }, answer: says("x", 7.4), want: /within 5 ms, it took 7 ms/ },
  { name: "never", expect: { max_latency_ms: 5 }, answer: "timeout", want: /within 5 ms, and none came/ },
  {
    name: "something else",
    expect: {},
    answer: { status: 200, body: "<html>", latencyMs: 1 },
    want: /expected text, got something else: "<html>"/,
  },
])("an answer that is $name", ({ expect: expected, answer, want }) => {
  const told = judge(check(expected), 3, answer);
  if (want === undefined) expect(told).toBeUndefined();
  else expect(told).toMatch(want);
});

test("a chat's text is its message's", () => {
  const chat = check({ contains: "hi" }, { messages: [{ role: "user", content: "say hi" }] });
  expect(judge(chat, 1, { status: 200, body: '{"choices":[{"message":{"content":"hi"}}]}', latencyMs: 1 })).toBeUndefined();
  expect(judge(chat, 1, { status: 200, body: '{"choices":[{"text":"hi"}]}', latencyMs: 1 })).toMatch(/something else/);
});

test("what is told of a check has its name, and is bounded", () => {
  const told = judge(check({ contains: "y".repeat(1_000) }, { name: "greets" }), 2, says("x".repeat(100_000)));
  expect(told).toMatch(/^check 2 \(greets\) failed: /);
  expect(told?.length).toBeLessThan(600);
});

test("patterns are RE2's: no look-around, no back references, and none that takes long", () => {
  expect(badPattern([check({ matches: "a+" }), check({})])).toBeUndefined();
  expect(badPattern([check({}), check({ matches: "(?=a)" }, { name: "ahead" })])).toMatch(/^check 2 \(ahead\): .*RE2/);
  expect(badPattern([check({ matches: "(a)\\1" })])).toMatch(/RE2/);
  expect(badPattern([check({ matches: "(a" })])).toMatch(/RE2/);
  // Exponential for whoever backtracks.
  expect(judge(check({ matches: "(a+)+$" }), 1, says(`${"a".repeat(20_000)}b`))).toMatch(/expected a text that matches/);
});

import { expect, test } from "vitest";
import { samplesIn } from "./exposition.ts";
import { TrialCounts, trialSamples } from "./trial-counts.ts";

const TRIAL = { namespace: "default", model: "x", step: "1" };
const line = (code: string, value: number, labels = 'model="x",namespace="default",version="canary"') =>
  `aibrix_gateway_version_responses_total{${labels},code="${code}"} ${value}\n`;

test("samples are read with their labels, whatever is written in them", () => {
  const page = `# HELP a_total x\na_total{m="a,b}\\"c\\\\",n="1"} 2 1700000000\na_total 3\na_x{le="+Inf"} +Inf\nb_total 1\na_total{broken\n`;
  expect(samplesIn(page, "a_")).toEqual([
    { name: "a_total", labels: { m: 'a,b}"c\\', n: "1" }, value: 2 },
    { name: "a_total", labels: {}, value: 3 },
    { name: "a_x", labels: { le: "+Inf" }, value: Number.POSITIVE_INFINITY },
  ]);
});

test("what a gateway shows first is of before; then its differences count, also across a start of its process", () => {
  const counts = new TrialCounts(TRIAL);
  const show = (gateway: string, page: string) => counts.add(gateway, trialSamples(page));
  show("a", line("200", 100) + line("500", 50));
  expect(counts.health).toMatchObject({ responses: 0, errors: 0, timed: 0, recent: undefined });
  show("a", line("200", 110) + line("500", 52) + line("error", 1));
  expect(counts.health).toMatchObject({ responses: 12, errors: 2 });
  show("b", line("404", 7));
  show("b", line("404", 9));
  expect(counts.health).toMatchObject({ responses: 14, errors: 2 });
  show("a", line("200", 4));
  expect(counts.health).toMatchObject({ responses: 18, errors: 2 });
});

test("other models, namespaces and versions do not count", () => {
  const counts = new TrialCounts(TRIAL);
  counts.add("a", []);
  const others = [
    'model="y",namespace="default",version="canary"',
    'model="x",namespace="o",version="canary"',
    'model="x",namespace="default",version="stable"',
  ];
  counts.add("a", trialSamples(others.map((labels) => line("500", 5, labels)).join("")));
  expect(counts.health.responses).toBe(0);
});

const bucket = (le: string, value: number, of = "response") =>
  `aibrix_gateway_version_${of}_seconds_bucket{model="x",namespace="default",version="canary",le="${le}"} ${value}\n`;

test("waits are added up by their bounds, those of clients that left by themselves", () => {
  const counts = new TrialCounts(TRIAL);
  counts.add("a", trialSamples(bucket("1", 5) + bucket("1", 1, "left") + bucket("+Inf", 2, "left")));
  counts.mark(0);
  counts.add("a", trialSamples(bucket("1", 6) + bucket("1", 3, "left") + bucket("+Inf", 6, "left")));
  const left = [
    [1, 2],
    [Number.POSITIVE_INFINITY, 4],
  ];
  expect([[...counts.health.within], [...(counts.health.left ?? [])]]).toEqual([[[1, 1]], left]);
  counts.mark(300_000);
  expect([...(counts.health.recent?.counted.left ?? [])]).toEqual(left);
});

test("waits that a gateway of before counts together, those of clients that left too, are taken as they are", () => {
  const counts = new TrialCounts(TRIAL);
  counts.add("a", trialSamples(bucket("1", 5) + bucket("+Inf", 9)));
  counts.add("a", trialSamples(line("200", 1) + line("error", 1) + bucket("1", 6) + bucket("+Inf", 11)));
  const { responses, timed, within } = counts.health;
  expect([responses, timed, [...within]]).toEqual([
    1,
    2,
    [
      [1, 1],
      [Number.POSITIVE_INFINITY, 2],
    ],
  ]);
});

test("once a step has lasted longer than five minutes, these are also told by themselves", () => {
  const counts = new TrialCounts(TRIAL);
  const minute = (n: number, ok: number, bad: number) => {
    counts.add("a", trialSamples(line("200", ok) + line("500", bad) + bucket("+Inf", ok + bad)));
    counts.mark(n * 60_000);
    return counts.health.recent;
  };
  minute(0, 0, 0);
  for (const n of [1, 2, 3, 4]) expect(minute(n, n * 100, 0)).toBeUndefined();
  expect(minute(5, 500, 0)?.counted).toMatchObject({ responses: 500, errors: 0 });
  for (const n of [6, 7, 8, 9]) minute(n, 600, (n - 5) * 10);
  expect(minute(10, 600, 50)).toMatchObject({ minutes: 5, counted: { responses: 150, errors: 50, timed: 150 } });
  expect(counts.health).toMatchObject({ responses: 650, errors: 50 });
});

import { expect, test } from "vitest";
import { samplesIn } from "./exposition.ts";
import { quantile, TrialCounts, trialSamples } from "./trial-counts.ts";

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
  expect(counts.health).toEqual({ responses: 0, errors: 0, latencyP95Ms: undefined });
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

test.each([
  { name: "none", buckets: [], want: undefined },
  { name: "nobody", buckets: [[1, 0] as const, [Number.POSITIVE_INFINITY, 0] as const], want: undefined },
  { name: "even within a bucket", buckets: [[1, 0] as const, [2, 100] as const, [Number.POSITIVE_INFINITY, 100] as const], want: 1.95 },
  { name: "beyond the last bound", buckets: [[1, 50] as const, [Number.POSITIVE_INFINITY, 100] as const], want: 1 },
])("the quantile of $name", ({ buckets, want }) => {
  expect(quantile(0.95, new Map(buckets))).toBe(want);
});

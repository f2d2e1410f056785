import { Registry } from "@aibrix/service";
import { expect, test } from "vitest";
import type { Trial } from "./phases/types.ts";
import { TrialAnswers } from "./trial-answers.ts";

const CANARY: Trial = { model: "lora", namespace: "team", version: "canary" };

function counting(maxModels = 10) {
  const registry = new Registry();
  const onTrial = new Set(["lora"]);
  let nowMs = 0;
  const answers = new TrialAnswers(registry, { maxModels, isOnTrial: (model) => onTrial.has(model), now: () => nowMs });
  const lines = async () =>
    (await registry.metrics())
      .split("\n")
      .filter((line) => /^aibrix_gateway_version_(responses_total|(response|left)_seconds_(count|sum))/.test(line));
  return { answers, registry, onTrial, lines, pass: (ms: number) => (nowMs += ms) };
}

test("counts answers by version and status, and the time until them", async () => {
  const { answers, lines } = counting();
  answers.add(CANARY, 200, 500);
  answers.add(CANARY, 200, 1_000);
  answers.add(CANARY, 500, 500);
  answers.add(CANARY, undefined, 100);
  answers.add({ ...CANARY, version: "stable" }, 200, 250);
  const label = (version: string, code?: number | string) =>
    `{model="lora",namespace="team",version="${version}"${code === undefined ? "" : `,code="${code}"`}}`;
  expect(await lines()).toEqual([
    `aibrix_gateway_version_responses_total${label("canary", 200)} 2`,
    `aibrix_gateway_version_responses_total${label("canary", 500)} 1`,
    `aibrix_gateway_version_responses_total${label("canary", "error")} 1`,
    `aibrix_gateway_version_responses_total${label("stable", 200)} 1`,
    `aibrix_gateway_version_response_seconds_sum${label("canary")} 2`,
    `aibrix_gateway_version_response_seconds_count${label("canary")} 3`,
    `aibrix_gateway_version_response_seconds_sum${label("stable")} 0.25`,
    `aibrix_gateway_version_response_seconds_count${label("stable")} 1`,
    `aibrix_gateway_version_left_seconds_sum${label("canary")} 0.1`,
    `aibrix_gateway_version_left_seconds_count${label("canary")} 1`,
  ]);
});

test("answers of the other content count by themselves, and for no content's time", async () => {
  const { answers, lines } = counting();
  answers.add(CANARY, 200, 250);
  answers.add(CANARY, "other", 500);
  const labels = 'model="lora",namespace="team",version="canary"';
  expect(await lines()).toEqual([
    `aibrix_gateway_version_responses_total{${labels},code="200"} 1`,
    `aibrix_gateway_version_responses_total{${labels},code="other"} 1`,
    `aibrix_gateway_version_response_seconds_sum{${labels}} 0.25`,
    `aibrix_gateway_version_response_seconds_count{${labels}} 1`,
  ]);
});

test("a content that hangs from its first request on shows in how long its clients waited", async () => {
  const { answers, registry } = counting();
  answers.add({ ...CANARY, version: "stable" }, 200, 250);
  for (let i = 0; i < 20; i++) answers.add(CANARY, undefined, 30_000);
  const page = await registry.metrics();
  const within = (le: string) =>
    Number(new RegExp(`_left_seconds_bucket\\{le="${le}",model="lora",namespace="team",version="canary"\\} (\\d+)`).exec(page)?.[1]);
  expect([within("10"), within("30")]).toEqual([0, 20]);
});

test("where no answer is ever seen, none is missed", async () => {
  const { answers, lines } = counting();
  answers.add(CANARY, undefined, 10);
  expect(await lines()).toEqual([]);
});

test("a trial that is over is forgotten after a while, one that goes on is not", async () => {
  const { answers, onTrial, lines, pass } = counting();
  onTrial.add("other");
  for (const model of ["lora", "other"]) for (const status of [200, undefined]) answers.add({ ...CANARY, model }, status, 1);
  onTrial.delete("lora");
  pass(599_999);
  expect(await lines()).toHaveLength(12);
  pass(1);
  const left = await lines();
  expect(left).toHaveLength(6);
  expect(left.every((line) => line.includes('model="other"'))).toBe(true);
});

test("models beyond the bound count together, until others are forgotten", async () => {
  const { answers, onTrial, lines, pass } = counting(1);
  for (const model of ["lora", "b", "c"]) answers.add({ ...CANARY, model }, 200, 1);
  expect((await lines()).filter((line) => line.includes("_total"))).toEqual([
    'aibrix_gateway_version_responses_total{model="lora",namespace="team",version="canary",code="200"} 1',
    'aibrix_gateway_version_responses_total{model="_other",namespace="",version="canary",code="200"} 2',
  ]);
  onTrial.clear();
  pass(600_000);
  answers.add({ ...CANARY, model: "d" }, 200, 1);
  expect((await lines())[0]).toContain('model="d"');
});

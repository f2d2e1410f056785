import { beforeEach, expect, test, vi } from "vitest";
import { ENGINE_UNSEEN, type EngineView } from "../engine/observer.ts";
import { DECLARE_HOLD_MS, RESTORE_HOLD_MS, RestoreGate } from "./restore-gate.ts";

const up: EngineView = { ...ENGINE_UNSEEN, ready: true, message: undefined };
const down: EngineView = { ...ENGINE_UNSEEN, message: "the engine is down" };
let settled: Set<string>;
let gate: RestoreGate;
let nowMs: number;
const notReady = (view: EngineView, atMs: number) => {
  nowMs = atMs;
  return gate.notReady(view, (name) => settled.has(name));
};
const onEngine = (view: EngineView, declared: readonly string[], atMs: number) => {
  nowMs = atMs;
  gate.onEngine(view, declared);
};

beforeEach(() => {
  settled = new Set();
  gate = new RestoreGate(["a", "b"], { now: () => nowMs });
});

test("holds back until the engine answers and every adapter is in or has failed", () => {
  expect(notReady(down, 0)).toBe("the engine is down");
  onEngine(up, [], 0);
  expect(notReady(up, 1)).toBe("adapters are being put back: a, b");
  settled.add("a");
  expect(notReady(up, 2)).toBe("adapters are being put back: b");
  settled.add("b");
  expect(notReady(up, 3)).toBeUndefined();
});

test("holds back for a minute at most", () => {
  onEngine(up, [], 1_000);
  expect(notReady(up, 1_000 + RESTORE_HOLD_MS - 1)).toBeDefined();
  expect(notReady(up, 1_000 + RESTORE_HOLD_MS)).toBeUndefined();
});

test("an adapter that is declared later holds nothing back, one that an engine's restart lost does", () => {
  settled = new Set(["a", "b"]);
  onEngine(up, [], 0);
  expect(notReady(up, 1)).toBeUndefined();
  settled.clear();
  onEngine(up, ["a", "b", "c"], 2);
  expect(notReady(up, 3)).toBeUndefined();
  onEngine(down, ["a", "b", "c"], 4);
  onEngine(up, ["a", "b", "c"], 5);
  expect(notReady(up, 6)).toBe("adapters are being put back: a, b, c");
});

test("an engine that was restarted between two looks has lost its adapters, too", () => {
  settled = new Set(["a", "b"]);
  onEngine({ ...up, bootId: "1" }, [], 0);
  expect(notReady(up, 1)).toBeUndefined();
  settled.clear();
  onEngine({ ...up, bootId: "1" }, ["a"], 2);
  expect(notReady(up, 3)).toBeUndefined();
  onEngine({ ...up, bootId: "2" }, ["a"], 4);
  expect(notReady(up, 5)).toBe("adapters are being put back: a");
  expect(notReady(up, 4 + RESTORE_HOLD_MS)).toBeUndefined();
});

test("tells once how long the adapters took", () => {
  const took: number[] = [];
  gate = new RestoreGate(["a", "b"], { onRestored: (ms) => took.push(ms), now: () => nowMs });
  onEngine(up, [], 100);
  settled.add("a");
  notReady(up, 150);
  expect(took).toEqual([]);
  settled.add("b");
  notReady(up, 180);
  notReady(up, 190);
  expect(took).toEqual([80]);
});

test("a wall clock that is set back lengthens no minute", () => {
  vi.useFakeTimers({ toFake: ["Date", "performance"] });
  try {
    gate = new RestoreGate(["a"]);
    gate.onEngine(up, []);
    vi.setSystemTime(Date.now() - 86_400_000);
    expect(gate.notReady(up, () => false)).toBeDefined();
    vi.advanceTimersByTime(RESTORE_HOLD_MS);
    expect(gate.notReady(up, () => false)).toBeUndefined();
  } finally {
    vi.useRealTimers();
  }
});

test("a new pod under a controller waits for what is declared until it is ready the first time, and then for nothing new", () => {
  gate = new RestoreGate([], { now: () => nowMs, watched: () => true });
  onEngine(up, [], 0);
  expect(notReady(up, 1)).toBe("the controller may declare adapters yet");
  gate.onDeclared("a");
  expect(notReady(up, DECLARE_HOLD_MS)).toBe("adapters are being put back: a");
  settled.add("a");
  expect(notReady(up, DECLARE_HOLD_MS + 1)).toBeUndefined();
  gate.onDeclared("b");
  expect(notReady(up, DECLARE_HOLD_MS + 2)).toBeUndefined();
  onEngine(down, ["a"], DECLARE_HOLD_MS + 3);
  onEngine(up, ["a"], DECLARE_HOLD_MS + 4);
  expect(notReady(up, DECLARE_HOLD_MS + 5)).toBeUndefined();
});

test("without a controller nothing that may come is waited for", () => {
  gate = new RestoreGate([], { now: () => nowMs, watched: () => false });
  onEngine(up, [], 0);
  expect(notReady(up, 1)).toBeUndefined();
});

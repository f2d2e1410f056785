import { beforeEach, describe, expect, test, vi } from "vitest";
import { ENGINE_UNSEEN, type EngineView } from "../engine/observer.ts";
import { CONNECT_HOLD_MS, DECLARE_HOLD_MS, isJustStarted, RESTORE_HOLD_MS, RestoreGate } from "./restore-gate.ts";

const up: EngineView = { ...ENGINE_UNSEEN, ready: true, message: undefined };
const down: EngineView = { ...ENGINE_UNSEEN, message: "the engine is down" };
let settled: Set<string>;
let gate: RestoreGate;
let nowMs: number;
const notReady = (view: EngineView, atMs: number) => {
  nowMs = atMs;
  gate.onChange((name) => settled.has(name));
  return gate.probe(view);
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
    expect(gate.probe(up)).toBeDefined();
    vi.advanceTimersByTime(RESTORE_HOLD_MS);
    expect(gate.probe(up)).toBeUndefined();
  } finally {
    vi.useRealTimers();
  }
});

describe("a new pod", () => {
  let firstReady: number;
  beforeEach(() => {
    firstReady = 0;
    gate = new RestoreGate([], { now: () => nowMs, isNewPod: true, isNewEngine: () => false, onFirstReady: () => (firstReady += 1) });
    onEngine(down, [], 0);
  });

  test("waits for what is declared until it is ready the first time, and then for nothing new", () => {
    onEngine(up, [], 0);
    gate.onFollowed();
    expect(notReady(up, 1)).toBe("the controller may declare adapters yet");
    gate.onDeclared("a");
    expect(notReady(up, DECLARE_HOLD_MS)).toBe("adapters are being put back: a");
    expect(firstReady).toBe(0);
    settled.add("a");
    expect(notReady(up, DECLARE_HOLD_MS + 1)).toBeUndefined();
    gate.onDeclared("b");
    expect(notReady(up, DECLARE_HOLD_MS + 2)).toBeUndefined();
    onEngine(down, ["a"], DECLARE_HOLD_MS + 3);
    gate.onDeclared("c");
    onEngine(up, ["a"], DECLARE_HOLD_MS + 4);
    expect(notReady(up, DECLARE_HOLD_MS + 5)).toBeUndefined();
    expect(firstReady).toBe(1);
  });

  test("gives a controller that cannot connect yet time to, and one that has connected the time to declare, but not without end", () => {
    onEngine(up, [], 0);
    expect(notReady(up, CONNECT_HOLD_MS - 1)).toBe("the controller may declare adapters yet");
    nowMs = DECLARE_HOLD_MS + 1;
    gate.onFollowed();
    expect(notReady(up, 2 * DECLARE_HOLD_MS)).toBe("the controller may declare adapters yet");
    nowMs = 2 * DECLARE_HOLD_MS;
    gate.onFollowed();
    expect(notReady(up, 2 * DECLARE_HOLD_MS + 1)).toBeUndefined();

    gate = new RestoreGate([], { now: () => nowMs, isNewPod: true });
    onEngine(down, [], 0);
    onEngine(up, [], 0);
    expect(notReady(up, CONNECT_HOLD_MS)).toBeUndefined();
  });

  test("waits for what is declared until a probe is told that it is ready, however late the first one comes", () => {
    onEngine(up, [], 0);
    nowMs = 3 * DECLARE_HOLD_MS;
    gate.onChange(() => false);
    gate.onDeclared("a");
    expect(notReady(up, 3 * DECLARE_HOLD_MS + 1)).toBe("adapters are being put back: a");
    expect(notReady(up, RESTORE_HOLD_MS)).toBeUndefined();
  });

  test("one whose engine answers at the first look is not new, unless the engine is", () => {
    gate = new RestoreGate(["a"], { now: () => nowMs, isNewPod: true });
    onEngine(up, [], 0);
    gate.onDeclared("b");
    expect(notReady(up, 1)).toBe("adapters are being put back: a");
    settled.add("a");
    expect(notReady(up, 2)).toBeUndefined();

    gate = new RestoreGate([], { now: () => nowMs, isNewPod: true, isNewEngine: () => true });
    onEngine(up, [], 0);
    gate.onDeclared("b");
    expect(notReady(up, DECLARE_HOLD_MS)).toBe("adapters are being put back: b");
  });

  test("what is declared does not count as put back", () => {
    const took: number[] = [];
    gate = new RestoreGate(["a"], { now: () => nowMs, isNewPod: true, onRestored: (ms) => took.push(ms) });
    onEngine(down, [], 0);
    gate.onDeclared("b");
    onEngine(up, [], 100);
    settled.add("a");
    notReady(up, 150);
    gate.onDeclared("c");
    settled = new Set(["a", "b", "c"]);
    notReady(up, 250);
    expect(took).toEqual([50]);
  });
});

test("elsewhere nothing that may come is waited for", () => {
  gate = new RestoreGate([], { now: () => nowMs });
  onEngine(down, [], 0);
  onEngine(up, [], 0);
  gate.onDeclared("a");
  expect(notReady(up, 1)).toBeUndefined();
});

test("an engine counts as new for its first minute, where it tells its start", () => {
  expect(isJustStarted(1_000_000, 1_059_000)).toBe(true);
  expect(isJustStarted(1_000_000, 1_061_000)).toBe(false);
  expect(isJustStarted(undefined, 1_000_000)).toBe(false);
});

import { beforeEach, expect, test } from "vitest";
import { FakeEngine, NEVER, SILENT } from "../../test/fakes.ts";
import { AdapterError } from "../errors.ts";
import { KeyRing } from "./key-ring.ts";
import { EngineObserver, type EngineView, engineStatus } from "./observer.ts";

let engine: FakeEngine;
let keys: KeyRing;
let observer: EngineObserver;
let seen: EngineView[];

beforeEach(() => {
  engine = new FakeEngine();
  keys = new KeyRing();
  observer = new EngineObserver({ engine, keys, log: SILENT });
  seen = [];
  observer.onChange((view) => seen.push(view));
});

test("shows what the engine answers to, and tells apart base models and adapters", async () => {
  engine.adapters.set("a", "/store/a");
  const view = await observer.refresh(NEVER);
  expect(view).toMatchObject({ ready: true, unauthorized: false, baseModels: ["base"], bootId: "boot-1", message: undefined });
  expect(view.models?.get("a")).toMatchObject({ root: "/store/a", parent: "base" });
  expect(engineStatus(engine, view)).toEqual({ url: engine.url, kind: "fake", ready: true, base_models: ["base"], boot_id: "boot-1" });
});

test("tells of changes only, though a list is never the same twice", async () => {
  await observer.refresh(NEVER);
  await observer.refresh(NEVER);
  expect(seen).toHaveLength(1);
  engine.adapters.set("a", "/store/a");
  await observer.refresh(NEVER);
  expect(seen).toHaveLength(2);
});

test("keeps the names of base models while the engine is away, and says why it is", async () => {
  await observer.refresh(NEVER);
  engine.up = false;
  const view = await observer.refresh(NEVER);
  expect(view).toMatchObject({ ready: false, models: undefined, baseModels: ["base"], message: "the engine is down" });
});

test("reads the boot id when something hints at another process, and not at every look", async () => {
  await observer.refresh(NEVER);
  await observer.refresh(NEVER);
  expect(engine.bootReads).toBe(1);
  engine.adapters.set("a", "/store/a");
  await observer.refresh(NEVER);
  engine.adapters.delete("a");
  await observer.refresh(NEVER);
  expect(engine.bootReads).toBe(2);
  engine.restart("boot-2");
  expect(await observer.refresh(NEVER)).toMatchObject({ bootId: "boot-2" });
});

test("tells the engine's limits: those of the flags, and what its metrics showed of this process", async () => {
  await observer.refresh(NEVER);
  expect(engineStatus(engine, observer.view, 16).limits).toEqual({ max_lora_rank: 16 });
  observer.noteMetrics('vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1\n');
  expect(seen.at(-1)?.maxLoras).toBe(4);
  observer.noteMetrics("nothing of this\n");
  await observer.refresh(NEVER);
  expect(engineStatus(engine, observer.view, 16).limits).toEqual({ max_loras: 4, max_lora_rank: 16 });
  engine.restart("boot-2");
  expect((await observer.refresh(NEVER)).maxLoras).toBeUndefined();
});

test("says what to set where the list wants a key, and finds the one that works", async () => {
  engine.apiKey = "right";
  const without = await observer.refresh(NEVER);
  expect(without).toMatchObject({ ready: true, unauthorized: true, models: undefined, baseModels: [] });
  expect(without.message).toContain("additionalConfig.api-key");
  keys.set("a", "wrong");
  keys.set("b", "right");
  expect(await observer.refresh(NEVER)).toMatchObject({ unauthorized: false, baseModels: ["base"] });
  expect(keys.good).toBe("right");
});

test("a slow answer is no outage, three in a row are", async () => {
  await observer.refresh(NEVER);
  engine.health = async () => {
    throw new AdapterError("EngineUnavailable", "slow", { cause: new DOMException("slow", "TimeoutError") });
  };
  expect((await observer.refresh(NEVER)).ready).toBe(true);
  expect((await observer.refresh(NEVER)).ready).toBe(true);
  expect((await observer.refresh(NEVER)).ready).toBe(false);
});

test("a list that fails once is no news, three in a row are", async () => {
  engine.adapters.set("a", "/store/a");
  await observer.refresh(NEVER);
  engine.listModels = async () => {
    throw new AdapterError("EngineUnavailable", "HTTP 500");
  };
  expect((await observer.refresh(NEVER)).models?.has("a")).toBe(true);
  expect((await observer.refresh(NEVER)).models?.has("a")).toBe(true);
  expect(await observer.refresh(NEVER)).toMatchObject({ ready: true, models: undefined, message: "HTTP 500" });
});

test("one connection that broke is no outage", async () => {
  let broken = 1;
  engine.health = async () => {
    if (broken-- > 0)
      throw new AdapterError("EngineUnavailable", "reset", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) });
  };
  expect((await observer.refresh(NEVER)).ready).toBe(true);
});

test("many wrong keys are tried a few at a time, and each gets its turn", () => {
  for (let i = 0; i < 20; i += 1) keys.set(`a${i}`, `key-${i}`);
  const looks = [keys.candidates(), keys.candidates(), keys.candidates()];
  for (const tried of looks) expect(tried.length).toBeLessThanOrEqual(9);
  expect(new Set(looks.flat()).size).toBe(21);
});

test("while another process may run that has not told its id, the process is not known; the view keeps the last one", async () => {
  expect(observer.bootId).toBeUndefined();
  await observer.refresh(NEVER);
  expect(observer.bootId).toBe("boot-1");
  engine.restart("boot-2");
  expect(observer.bootId).toBeUndefined();
  const told = Promise.withResolvers<string>();
  engine.bootId = () => told.promise;
  const look = observer.refresh(NEVER);
  expect(observer.bootId).toBeUndefined();
  told.reject(new AdapterError("EngineUnavailable", "slow"));
  expect(await look).toMatchObject({ ready: true, bootId: "boot-1" });
  expect(observer.bootId).toBeUndefined();
  engine.bootId = async () => "boot-2";
  await observer.refresh(NEVER);
  expect(observer.bootId).toBe("boot-2");
});

test("a process that goes while another's id is read leaves it unknown", async () => {
  await observer.refresh(NEVER);
  engine.restart("boot-2");
  engine.bootId = async () => {
    engine.restart("boot-3");
    return "boot-2";
  };
  await observer.refresh(NEVER);
  expect(observer.bootId).toBeUndefined();
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { FakeArtifacts, FakeEngine, fakeContent, NEVER, SILENT, testStore } from "../../test/fakes.ts";
import { KeyRing } from "../engine/key-ring.ts";
import { ENGINE_UNSEEN, EngineObserver, engineStatus } from "../engine/observer.ts";
import { AdapterError } from "../errors.ts";
import { Feed } from "../feed.ts";
import { createMetrics } from "../metrics.ts";
import { AdapterManager } from "./manager.ts";
import { Memory } from "./memory.ts";

const NAMES = ["a", "b"];
const CONTENTS = ["one", "two", "refused", "missing"];
const name = fc.constantFrom(...NAMES);

const step = fc.oneof(
  fc.record({ kind: fc.constant("load" as const), name, content: fc.constantFrom(...CONTENTS) }),
  fc.record({ kind: fc.constant("unload" as const), name }),
  fc.record({ kind: fc.constant("engine restarts" as const), refuses: fc.subarray(["one", "two"]) }),
  fc.record({ kind: fc.constant("somebody unloads" as const), name }),
  fc.record({ kind: fc.constant("files vanish" as const), content: fc.constantFrom("one", "two") }),
  fc.record({ kind: fc.constant("runtime restarts" as const) }),
  fc.record({ kind: fc.constant("look" as const) }),
);

test("whatever happens, what is declared and can be served is served in the end, and nothing is asked for ever", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const dir = await mkdtemp(join(tmpdir(), "converges-"));
      const engine = new FakeEngine();
      const artifacts = new FakeArtifacts();
      for (const content of ["one", "two", "refused"]) artifacts.byUrl.set(`/${content}`, fakeContent(content));
      const refuse = (contents: readonly string[]) => {
        engine.refusals = new Map([...contents, "refused"].map((c) => [`/store/${c}`, new AdapterError("EngineRefused", "no")]));
      };
      refuse([]);
      const start = async () => {
        const keys = new KeyRing();
        const observer = new EngineObserver({ engine, keys, log: SILENT });
        const feed = new Feed(engineStatus(engine, ENGINE_UNSEEN));
        const memory = new Memory(dir, SILENT);
        await memory.open();
        const deps = { engine, observer, artifacts, memory, keys, feed, store: testStore(dir), metrics: createMetrics() };
        const manager = new AdapterManager({
          ...deps,
          maxLoraRank: undefined,
          probe: "auto",
          log: SILENT,
          now: Date.now,
          timeOf: (ms: number) => ms,
          random: () => 0,
        });
        manager.restore();
        manager.sweepOrphans();
        await observer.refresh(NEVER);
        return { manager, observer, feed };
      };
      let world = await start();
      const declared = new Map<string, string>();
      try {
        for (const s of steps) {
          if (s.kind === "load") {
            declared.set(s.name, s.content);
            await world.manager.load({ lora_name: s.name, artifact_url: `/${s.content}` });
          } else if (s.kind === "unload") {
            declared.delete(s.name);
            await world.manager.unload({ lora_name: s.name }).catch(() => undefined);
          } else if (s.kind === "engine restarts") {
            refuse(s.refuses);
            engine.restart(`boot-${Math.random()}`);
          } else if (s.kind === "somebody unloads") engine.adapters.delete(s.name);
          else if (s.kind === "files vanish") artifacts.lost.add(`/store/${s.content}`);
          else if (s.kind === "runtime restarts") {
            await world.manager.close();
            world = await start();
          } else await world.observer.refresh(NEVER);
        }
        const before = engine.calls.length;
        await vi.waitFor(
          async () => {
            await world.observer.refresh(NEVER);
            for (const n of NAMES) {
              const content = declared.get(n);
              const servable = content !== undefined && artifacts.byUrl.has(`/${content}`) && !engine.refusals.has(`/store/${content}`);
              const status = world.feed.adapter(n);
              if (content === undefined) {
                expect(engine.adapters.has(n)).toBe(false);
                expect(status).toBeUndefined();
              } else if (servable) {
                expect(engine.adapters.get(n)).toBe(`/store/${content}`);
                expect(status).toMatchObject({ state: "Serving", serving: { path: `/store/${content}` } });
              } else {
                expect(status?.state).toBe("Failed");
                expect(status?.serving?.path).toBe(engine.adapters.get(n));
              }
            }
          },
          { interval: 1, timeout: 4_000 },
        );
        expect(engine.calls.length - before).toBeLessThan(20);
      } finally {
        await world.manager.close();
        await rm(dir, { recursive: true });
      }
    }),
    { numRuns: 60, interruptAfterTimeLimit: 15_000, endOnFailure: true },
  );
}, 30_000);

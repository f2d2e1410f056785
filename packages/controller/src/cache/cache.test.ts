import type { KubeObject } from "@aibrix/kube";
import { expect, test } from "vitest";
import { BELIEVED_MS, OwnWrites } from "./own-writes.ts";
import { Placements } from "./placements.ts";

const at = (resourceVersion: string, uid = "u"): KubeObject => ({ metadata: { name: "x", namespace: "n", uid, resourceVersion } });

test("own writes count until the cache has caught up", () => {
  const own = new OwnWrites();
  own.wrote("n/x", at("10"));
  expect(own.latest("n/x", undefined)?.metadata.resourceVersion).toBe("10");
  expect(own.latest("n/x", at("9"))?.metadata.resourceVersion).toBe("10");
  expect(own.latest("n/x", at("11"))?.metadata.resourceVersion).toBe("11");
  expect(own.latest("n/x", undefined)).toBeUndefined();
});

test("what we deleted is gone, but not another object of its name", () => {
  const own = new OwnWrites();
  own.deleted("n/x", "u");
  expect(own.latest("n/x", at("5"))).toBeUndefined();
  expect(own.latest("n/x", at("7", "v"))?.metadata.uid).toBe("v");
});

test("what somebody else deleted is forgotten", () => {
  const own = new OwnWrites();
  own.wrote("n/x", at("10"));
  own.forget("n/x");
  expect(own.latest("n/x", undefined)).toBeUndefined();
});

test("what the cache does not show for a minute is gone: somebody deleted it while nobody could tell", () => {
  let nowMs = 0;
  const own = new OwnWrites(() => nowMs);
  own.wrote("n/x", at("10"));
  nowMs = BELIEVED_MS;
  expect(own.latest("n/x", undefined)?.metadata.resourceVersion).toBe("10");
  nowMs = BELIEVED_MS + 1;
  expect(own.latest("n/x", undefined)).toBeUndefined();
  expect([...own.keys()]).toEqual([]);
});

test("what the cache has in an older version counts however long its watch is silent", () => {
  let nowMs = 0;
  const own = new OwnWrites(() => nowMs);
  own.wrote("n/x", at("10"));
  nowMs = 3 * BELIEVED_MS;
  expect(own.latest("n/x", at("9"))?.metadata.resourceVersion).toBe("10");
  expect(own.latest("n/x", at("10"))?.metadata.resourceVersion).toBe("10");
  expect([...own.keys()]).toEqual([]);
});

test("placements count others only", () => {
  const p = new Placements();
  p.set("n/x", ["n/a", "n/b"]);
  p.set("n/y", ["n/a"]);
  expect([p.load("n/a", "n/x"), p.load("n/a", "n/z"), p.load("n/b", "n/y"), p.load("n/c", "n/x")]).toEqual([1, 2, 1, 0]);
  p.set("n/x", ["n/c"]);
  expect([...p.adaptersOn("n/a")]).toEqual(["n/y"]);
  p.delete("n/y");
  expect([...p.adaptersOn("n/a")]).toEqual([]);
  expect(p.podsOf("n/y")).toBeUndefined();
});

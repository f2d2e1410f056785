import { expect, test, vi } from "vitest";
import { type Change, Store } from "./store.ts";
import type { Pod } from "./types.ts";

function pod(name: string, resourceVersion: string, labels: Record<string, string> = {}): Pod {
  return { metadata: { namespace: "ns", name, uid: `u-${name}`, resourceVersion, labels }, spec: { containers: [] } };
}

function watched(): { store: Store<Pod>; told: string[] } {
  const told: string[] = [];
  const indexes = { model: (p: Pod) => (p.metadata.labels?.model === undefined ? [] : [p.metadata.labels.model]) };
  const store = new Store<Pod>({ indexes, onHandlerError: (e) => told.push(`threw ${e}`) });
  store.onChange((c: Change<Pod>) =>
    told.push(`${c.type} ${c.key} ${c.old?.metadata.resourceVersion ?? "-"}>${c.object?.metadata.resourceVersion ?? "-"}`),
  );
  return { store, told };
}

test("tells changes with what was there before, and nothing for the same version", () => {
  const { store, told } = watched();
  store.set(pod("a", "1"));
  store.set(pod("a", "1"));
  store.set(pod("a", "2"));
  store.delete("ns/a");
  store.delete("ns/a");
  expect(told).toEqual(["added ns/a ->1", "updated ns/a 1>2", "deleted ns/a 2>-"]);
});

test("replacing all tells only the differences", () => {
  const { store, told } = watched();
  for (const name of ["a", "b", "c"]) store.set(pod(name, "1"));
  told.length = 0;
  store.replace([pod("b", "1"), pod("c", "2"), pod("d", "3")]);
  expect(told).toEqual(["deleted ns/a 1>-", "updated ns/c 1>2", "added ns/d ->3"]);
});

test("an object of the same name and version but another uid is a change", () => {
  const { store, told } = watched();
  store.set(pod("a", "1"));
  store.set({ ...pod("a", "1"), metadata: { ...pod("a", "1").metadata, uid: "other" } });
  expect(told).toHaveLength(2);
});

test("indexes follow changes and let go of what is gone", () => {
  const { store } = watched();
  const names = (value: string) => store.byIndex("model", value).map((p) => p.metadata.name);
  store.set(pod("a", "1", { model: "x" }));
  store.set(pod("b", "1", { model: "x" }));
  store.set(pod("c", "1"));
  expect(names("x")).toEqual(["a", "b"]);
  store.set(pod("a", "2", { model: "y" }));
  store.delete("ns/b");
  expect([names("x"), names("y"), names("z")]).toEqual([[], ["a"], []]);
  expect(() => store.byIndex("nope", "x")).toThrow("no index nope");
});

test("a handler that throws keeps neither the store nor other handlers from their work", () => {
  const { store, told } = watched();
  store.onChange(() => {
    throw new Error("boom");
  });
  const last = vi.fn();
  store.onChange(last);
  store.set(pod("a", "1"));
  expect(store.get("ns/a")).toBeDefined();
  expect(last).toHaveBeenCalledOnce();
  expect(told).toContain("threw Error: boom");
});

test("a late handler hears what is there, and none after it is taken off", () => {
  const { store } = watched();
  store.set(pod("a", "1"));
  const handler = vi.fn();
  const stop = store.onChange(handler);
  expect(handler).toHaveBeenCalledWith(expect.objectContaining({ type: "added", key: "ns/a" }));
  stop();
  store.set(pod("b", "1"));
  expect(handler).toHaveBeenCalledOnce();
});

import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Journal } from "./journal.ts";

let dir: string;
const SUBJECT = { fingerprint: "f", bootId: "boot-1" };
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "journal-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("says what was written, also to the next process", async () => {
  const first = await Journal.open(dir, SUBJECT);
  await first.add("a", { start: 0, end: 10 });
  await first.add("b", { start: 5, end: 9 });
  await first.add("a", { start: 10, end: 20 });
  await first.forget("b");
  await first.add("b", { start: 1, end: 2 });
  const next = await Journal.open(dir, SUBJECT);
  expect({ a: next.done("a"), b: next.done("b"), c: next.done("c"), isSure: next.isSure("a") }).toEqual({
    a: [{ start: 0, end: 20 }],
    b: [{ start: 1, end: 2 }],
    c: [],
    isSure: true,
  });
});

test("a line that a kill cut short does not count, and does not spoil the next one", async () => {
  const first = await Journal.open(dir, SUBJECT);
  await first.add("a", { start: 0, end: 10 });
  await first.add("a", { start: 10, end: 2000 });
  const path = join(dir, "journal");
  await truncate(path, (await readFile(path)).length - 3);
  const second = await Journal.open(dir, SUBJECT);
  expect(second.done("a")).toEqual([{ start: 0, end: 10 }]);
  await second.add("a", { start: 10, end: 30 });
  expect((await Journal.open(dir, SUBJECT)).done("a")).toEqual([{ start: 0, end: 30 }]);
});

test("a line whose sum is wrong does not count", async () => {
  await Journal.open(dir, SUBJECT);
  await appendFile(join(dir, "journal"), '00000000 ["a",0,10]\nnonsense\n');
  expect((await Journal.open(dir, SUBJECT)).done("a")).toEqual([]);
});

test("another content, or a journal that nobody can read, starts anew", async () => {
  await (await Journal.open(dir, SUBJECT)).add("a", { start: 0, end: 10 });
  expect((await Journal.open(dir, { ...SUBJECT, fingerprint: "g" })).done("a")).toEqual([]);
  await writeFile(join(dir, "journal"), '{"version":1,"fing');
  expect((await Journal.open(dir, SUBJECT)).done("a")).toEqual([]);
});

test("tells when the machine was started anew since", async () => {
  await (await Journal.open(dir, SUBJECT)).add("a", { start: 0, end: 10 });
  const next = await Journal.open(dir, { ...SUBJECT, bootId: "boot-2" });
  expect({ done: next.done("a"), isSure: next.isSure("a") }).toEqual({ done: [{ start: 0, end: 10 }], isSure: false });
  await (await Journal.open(dir, { fingerprint: "h", bootId: "" })).add("a", { start: 0, end: 10 });
  expect((await Journal.open(dir, { fingerprint: "h", bootId: "" })).isSure("a")).toBe(false);
});

test("after a start of the machine, what was written since is sure to every later try, and what was written before to none", async () => {
  await (await Journal.open(dir, SUBJECT)).add("old", { start: 0, end: 10 });
  await (await Journal.open(dir, SUBJECT)).add("both", { start: 0, end: 10 });
  const after = { ...SUBJECT, bootId: "boot-2" };
  const second = await Journal.open(dir, after);
  await second.add("both", { start: 10, end: 20 });
  await second.add("new", { start: 0, end: 10 });
  const sure = (journal: Journal) => ["old", "both", "new"].filter((name) => journal.isSure(name));
  expect(sure(await Journal.open(dir, after))).toEqual(["new"]);
  await second.forget("old");
  await second.add("old", { start: 0, end: 5 });
  const next = await Journal.open(dir, after);
  expect(sure(next)).toEqual(["old", "new"]);
  expect(next.done("old")).toEqual([{ start: 0, end: 5 }]);
  expect(sure(await Journal.open(dir, { ...SUBJECT, bootId: "boot-3" }))).toEqual([]);
});

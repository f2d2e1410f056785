import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testStore } from "../../../test/fakes.ts";
import { layoutOf } from "./layout.ts";
import { isGone, Pods } from "./pods.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MIN_MS = 60_000;

test.each([
  { name: "one that was just seen", ageMs: 0, silentMs: 0, gone: false },
  { name: "one from last week that this process has just met", ageMs: 7 * DAY_MS, silentMs: 0, gone: false },
  { name: "one from last week after an hour of silence", ageMs: 7 * DAY_MS, silentMs: HOUR_MS, gone: true },
  {
    name: "a live one after the clock went a year ahead: its next sign comes within a minute",
    ageMs: 365 * DAY_MS,
    silentMs: MIN_MS,
    gone: false,
  },
  { name: "a sidecar that crashes again and again", ageMs: 2 * HOUR_MS, silentMs: 2 * HOUR_MS, gone: false },
  { name: "a silent one whose time lies ahead", ageMs: -365 * DAY_MS, silentMs: DAY_MS, gone: true },
  { name: "one whose time lies ahead, for some hours", ageMs: -365 * DAY_MS, silentMs: 5 * HOUR_MS, gone: false },
])("$name", ({ ageMs, silentMs, gone }) => {
  expect(isGone({ ageMs, silentMs })).toBe(gone);
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pods-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("folders of pods that are gone are removed, and no others", async () => {
  for (const pod of ["me", "gone", "alive"]) await testStore(dir, { podFolder: pod }).open();
  await mkdir(join(dir, "pods/a-folder-of-the-users"));
  await writeFile(join(dir, "pods/a-folder-of-the-users/file"), "x");
  const old = new Date(Date.now() - 2 * DAY_MS);
  await utimes(join(dir, "pods/gone/.alive"), old, old);
  let clockMs = 0;
  const pods = new Pods(layoutOf(dir, "me"), Date.now, () => clockMs);
  expect(await pods.sweep()).toEqual([]);
  clockMs = HOUR_MS;
  expect(await pods.sweep()).toEqual(["gone"]);
  expect((await readdir(join(dir, "pods"))).sort()).toEqual(["a-folder-of-the-users", "alive", "me"]);
  expect(await readdir(join(dir, ".cache/trash"))).toEqual([]);
});

test("a sign of life, by a clock that may be wrong, keeps a pod for a day of this process", async () => {
  for (const pod of ["me", "other"]) await testStore(dir, { podFolder: pod }).open();
  let clockMs = 0;
  const me = new Pods(layoutOf(dir, "me"), Date.now, () => clockMs);
  const other = (now: number) =>
    new Pods(
      layoutOf(dir, "other"),
      () => now,
      () => clockMs,
    ).beat();
  await other(0);
  expect(await me.sweep()).toEqual([]);
  clockMs = 23 * HOUR_MS;
  await other(Date.now() + 365 * DAY_MS);
  expect(await me.sweep()).toEqual([]);
  clockMs = 46 * HOUR_MS;
  expect(await me.sweep()).toEqual([]);
  clockMs = 47 * HOUR_MS;
  expect(await me.sweep()).toEqual(["other"]);
});

test("in a volume of its own a pod shows nothing and sweeps nothing", async () => {
  await testStore(dir).open();
  expect((await readdir(dir)).sort()).toEqual([".cache", ".tmp"]);
  await expect(stat(join(dir, "pods"))).rejects.toThrow("ENOENT");
});

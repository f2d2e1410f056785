import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NEVER } from "../../../test/fakes.ts";
import { PARTIAL_KEPT_MS, PartialFolders } from "./partial.ts";

let dir: string;
let partials: PartialFolders;
const ONE = { key: "one", artifactUrl: "hf://a/one" };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "partial-"));
  partials = new PartialFolders(dir);
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("what was released is there for the next try, of this process or another", async () => {
  const first = await partials.take(ONE, NEVER);
  await writeFile(join(first.files, "w"), "half");
  await first.release();
  const other = new PartialFolders(dir);
  await other.sweep(Date.now());
  const second = await other.take(ONE, NEVER);
  expect(await readFile(join(second.files, "w"), "utf8")).toBe("half");
  await second.discard();
  expect(await readdir(dir)).toEqual([]);
});

test("one holder at a time; who waits can give up", async () => {
  const first = await partials.take(ONE, NEVER);
  const order: string[] = [];
  const second = partials.take(ONE, NEVER).then((folder) => {
    order.push("second");
    return folder;
  });
  const abort = new AbortController();
  const third = partials.take(ONE, abort.signal);
  abort.abort(new Error("enough"));
  await expect(third).rejects.toThrow("enough");
  order.push("released");
  await first.release();
  await (await second).release();
  expect(order).toEqual(["released", "second"]);
});

test("the sweep removes what is old, what was superseded, and what nobody can name", async () => {
  const now = Date.now();
  const make = async (key: string, artifactUrl: string, ageMs: number) => {
    await (await partials.take({ key, artifactUrl }, NEVER)).release();
    const at = new Date(now - ageMs);
    await utimes(join(dir, key), at, at);
  };
  await make("new", "hf://a/b", 0);
  await make("superseded", "hf://a/b", 1_000);
  await make("old", "hf://a/c", PARTIAL_KEPT_MS + 60_000);
  await make("kept", "hf://a/d", PARTIAL_KEPT_MS - 60_000);
  await make("nameless", "hf://a/e", 0);
  await writeFile(join(dir, "nameless", "of.json"), '{"artif');
  await partials.sweep(now);
  expect((await readdir(dir)).sort()).toEqual(["kept", "new"]);
});

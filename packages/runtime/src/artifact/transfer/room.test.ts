import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lackOfRoom, NoRoom, RESERVE_BYTES, Room } from "./room.ts";

const MIB = 2 ** 20;

test.each([
  { name: "enough", room: { missingBytes: MIB, promisedBytes: 0, freeBytes: MIB + RESERVE_BYTES }, lacks: undefined },
  {
    name: "the reserve is touched",
    room: { missingBytes: MIB + 1, promisedBytes: 0, freeBytes: MIB + RESERVE_BYTES },
    lacks: /needs 1\.0 MiB more.*65\.0 MiB free \(64\.0 MiB stay free\)/,
  },
  {
    name: "others come first",
    room: { missingBytes: MIB, promisedBytes: 2 * MIB, freeBytes: MIB + RESERVE_BYTES },
    lacks: /2\.0 MiB are for downloads that run/,
  },
  { name: "nothing is missing", room: { missingBytes: 0, promisedBytes: 0, freeBytes: 0 }, lacks: undefined },
])("$name", ({ room, lacks }) => {
  const says = lackOfRoom(room);
  if (lacks === undefined) expect(says).toBeUndefined();
  else expect(says).toMatch(lacks);
});

describe("what running downloads still need", () => {
  let dir: string;
  let room: Room;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "room-"));
    room = new Room();
  });
  afterEach(async () => {
    await rm(dir, { recursive: true });
  });
  const folder = async (name: string) => {
    await mkdir(join(dir, name));
    return join(dir, name);
  };

  test("counts on all folders of their volume, until they are done", async () => {
    let missing = 1;
    const giveBack = await room.take({ dir: await folder("a"), missingBytes: () => missing });
    const other = await folder("b");
    (await room.take({ dir: other, missingBytes: () => 1 }))();
    missing = 2 ** 60;
    await expect(room.take({ dir: other, missingBytes: () => 1 })).rejects.toThrow(NoRoom);
    await expect(room.take({ dir: other, missingBytes: () => 1 })).rejects.toThrow(/needs 0\.0 MiB more, .* are for downloads that run/);
    giveBack();
    (await room.take({ dir: other, missingBytes: () => 1 }))();
  });

  test("does not count on another volume", async () => {
    const giveBack = await room.take({ dir, missingBytes: () => 0 });
    let missing = 0;
    const elsewhere = await room.take({ dir: "/proc", missingBytes: () => missing });
    missing = 2 ** 60;
    (await room.take({ dir, missingBytes: () => 1 }))();
    elsewhere();
    giveBack();
  });

  test("keeps the second of two that begin at once from starting, and not both", async () => {
    const { bavail, bsize } = await statfs(dir);
    const most = Math.floor(0.6 * bavail * bsize);
    const begun = await Promise.allSettled(
      ["a", "b"].map(async (name) => await room.take({ dir: await folder(name), missingBytes: () => most })),
    );
    expect(begun.map((b) => b.status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("is made room for, before one more begins; nothing is for what is here already", async () => {
    const needed: number[] = [];
    const makeRoom = async (bytes: number) => void needed.push(bytes);
    const of = (missing: number) => ({ dir, missingBytes: () => missing, makeRoom });
    await room.take(of(10));
    await room.take(of(0));
    await room.take(of(5));
    expect(needed).toEqual([10, 15]);
  });
});

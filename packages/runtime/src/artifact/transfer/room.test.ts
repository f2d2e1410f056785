import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { lackOfRoom, RESERVE_BYTES, Room } from "./room.ts";

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

test("counts what running downloads still need, until they are done", async () => {
  const room = new Room();
  const giveBack = await room.take(tmpdir(), () => 0);
  let missing = 0;
  const other = await room.take(tmpdir(), () => missing);
  missing = 2 ** 60;
  await expect(room.take(tmpdir(), () => 1)).rejects.toMatchObject({ reason: "StorageFull" });
  other();
  (await room.take(tmpdir(), () => 1))();
  giveBack();
});

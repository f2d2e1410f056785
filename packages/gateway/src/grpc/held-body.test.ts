import { expect, test } from "vitest";
import { HeldBody, HeldBytes } from "./held-body.ts";

const KIB = 1024;

test("a body is what came, piece by piece", () => {
  const body = new HeldBody(new HeldBytes(1024 * KIB));
  const pieces = Array.from({ length: 300 }, (_, i) => Buffer.alloc(i, i % 256));
  for (const piece of pieces) expect(body.add(piece, 1024 * KIB)).toBe(true);
  expect(body.whole()).toEqual(Buffer.concat(pieces));
});

test("all bodies together have no more memory than they may, and give it back", () => {
  const held = new HeldBytes(64 * KIB);
  const [first, second] = [new HeldBody(held), new HeldBody(held)];
  expect(first.add(Buffer.alloc(48 * KIB), 64 * KIB)).toBe(true);
  expect(second.add(Buffer.alloc(20 * KIB), 64 * KIB)).toBe(false);
  expect(held.bytes).toBe(48 * KIB);
  first.drop();
  first.drop();
  expect(held.bytes).toBe(0);
  expect(second.add(Buffer.alloc(20 * KIB), 64 * KIB)).toBe(true);
});

test("a body claims nothing ahead of what it may have", () => {
  const held = new HeldBytes(1024 * KIB);
  const body = new HeldBody(held);
  for (let i = 0; i < 6; i++) expect(body.add(Buffer.alloc(15 * KIB), 100 * KIB)).toBe(true);
  expect(held.bytes).toBe(100 * KIB);
});

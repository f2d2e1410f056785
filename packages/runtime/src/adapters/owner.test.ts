import { expect, test } from "vitest";
import { mayReplace, mayUnload, notOurs } from "./owner.ts";

const FIRST = "modeladapter/default/a/uid-1";
const SECOND = "modeladapter/default/a/uid-2";

test.each([
  { name: "the same owner", owner: FIRST, claim: { owner: FIRST }, replaces: true, unloads: true },
  { name: "nobody in particular, twice", owner: undefined, claim: {}, replaces: true, unloads: true },
  { name: "a ModelAdapter that was made again", owner: FIRST, claim: { owner: SECOND }, replaces: true, unloads: false },
  { name: "one of another name", owner: FIRST, claim: { owner: "modeladapter/default/b/uid-1" }, replaces: false, unloads: false },
  { name: "one of another namespace", owner: FIRST, claim: { owner: "modeladapter/other/a/uid-1" }, replaces: false, unloads: false },
  { name: "somebody else", owner: FIRST, claim: { owner: "ci" }, replaces: false, unloads: false },
  { name: "somebody else's", owner: "ci", claim: { owner: FIRST, adopt: true }, replaces: false, unloads: false },
  { name: "somebody of the same first letters", owner: "ci/1", claim: { owner: "ci/2" }, replaces: false, unloads: false },
  { name: "a call by hand", owner: FIRST, claim: {}, replaces: false, unloads: false },
  { name: "what was loaded by hand", owner: undefined, claim: { owner: FIRST }, replaces: false, unloads: false },
  {
    name: "what it loaded itself, before there were owners",
    owner: undefined,
    claim: { owner: FIRST, adopt: true },
    replaces: true,
    unloads: false,
  },
])("$name", ({ owner, claim, replaces, unloads }) => {
  expect(mayReplace({ owner }, claim)).toBe(replaces);
  expect(mayUnload({ owner }, claim)).toBe(unloads);
});

test.each([
  { owner: undefined, says: /loaded by a call without an owner: unload it by such a call/ },
  { owner: "ci", says: /declared by ci: have it taken away there/ },
  { owner: FIRST, says: /belongs to the ModelAdapter default\/a: change or delete that/ },
])("says whose it is: $owner", ({ owner, says }) => {
  expect(notOurs({ name: "a", owner })).toMatchObject({ status: 409, code: "NotOurs", message: expect.stringMatching(says) });
});

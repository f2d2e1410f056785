import { expect, test } from "vitest";
import { ENGINE_UNSEEN } from "../engine/observer.ts";
import { AdapterError } from "../errors.ts";
import { endedDuring, Suspects } from "./engine-ends.ts";

const up = { ...ENGINE_UNSEEN, ready: true, bootId: "boot-1" };
const broke = (code: string) => new AdapterError("EngineUnavailable", "m", { cause: Object.assign(new Error("m"), { code }) });

test.each([
  { name: "it is gone", error: broke("ECONNRESET"), after: { ...up, ready: false }, ended: true },
  { name: "it answered an error, and is gone", error: new AdapterError("EngineRefused", "m"), after: { ...up, ready: false }, ended: true },
  {
    name: "the connection broke, and another process is up",
    error: broke("UND_ERR_SOCKET"),
    after: { ...up, bootId: "boot-2" },
    ended: true,
  },
  { name: "the connection broke, and it is up", error: broke("ECONNRESET"), after: up, ended: false },
  { name: "another process refused it", error: new AdapterError("EngineRefused", "m"), after: { ...up, bootId: "boot-2" }, ended: false },
  { name: "nobody took the call", error: broke("ECONNREFUSED"), after: { ...up, ready: false }, ended: false },
])("whether an engine ended in the middle of a call: $name", ({ error, after, ended }) => {
  expect(endedDuring(error, up, after)).toBe(ended);
});

test("only what ran alone all the time can be blamed", async () => {
  const suspects = new Suspects();
  let end = (): void => undefined;
  const first = suspects.watch(async (isAlone) => {
    const before = isAlone();
    await new Promise<void>((resolve) => (end = resolve));
    return [before, isAlone()];
  });
  expect(await suspects.watch(async (isAlone) => isAlone())).toBe(false);
  end();
  expect(await first).toEqual([true, false]);
  expect(await suspects.watch(async (isAlone) => isAlone())).toBe(true);
});

import { expect, test } from "vitest";
import { podChanges } from "./pod-changes.ts";
import type { PodRow } from "./types.ts";

const row = (state: PodRow["state"], more: Partial<PodRow> = {}): PodRow => ({ name: "p", uid: "u", state, ...more });
const failed = row("Failed", { lastError: "no such file" });

test.each<[string, PodRow[], PodRow[], string[]]>([
  ["a first load", [], [row("Serving")], ["loaded"]],
  ["what goes on", [row("Serving")], [row("Serving")], []],
  ["on its way", [row("Pending")], [row("Downloading")], []],
  ["a failure", [row("Loading")], [failed], ["failed"]],
  ["the same failure", [failed], [{ ...failed, attempts: 3 }], []],
  ["another failure", [failed], [row("Failed", { lastError: "denied" })], ["failed"]],
  ["a retry that succeeds", [failed], [row("Serving")], ["loaded"]],
  ["an edit that fails while the old content is served", [row("Serving")], [row("Updating", { lastError: "denied" })], ["failed"]],
  ["an engine that died", [row("Serving")], [row("Pending")], ["lost"]],
  ["an unload", [row("Draining")], [], ["unloaded"]],
  ["an unload that cannot be made", [row("Draining")], [row("Draining", { lastError: "silent" })], []],
  ["a pod that is gone", [row("Serving")], [], ["lost"]],
  ["a pod of the same name", [row("Serving")], [row("Serving", { uid: "v" })], ["loaded", "lost"]],
])("%s", (_, before, after, kinds) => {
  expect(podChanges({ pods: before }, { pods: after }).map((c) => c.kind)).toEqual(kinds);
});

test("says which pod, and why", () => {
  expect(podChanges(undefined, { pods: [failed] })).toEqual([{ kind: "failed", pod: "p", uid: "u", error: "no such file" }]);
});

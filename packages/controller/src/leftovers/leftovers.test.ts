import { type ConfigMap, KubeError } from "@aibrix/kube";
import { expect, test } from "vitest";
import { Leftovers } from "./leftovers.ts";

const { signal } = new AbortController();
const POD = { key: "default/a", uid: "u-a" };

/** Leftovers whose ConfigMap cannot be written for a reason, and what they warn of. */
function refusedWith(status: number, find: () => Promise<ConfigMap | undefined> = () => Promise.resolve(undefined)) {
  const warnings: string[] = [];
  const refuse = () => Promise.reject(new KubeError("no", { status, reason: "Refused" }));
  const client = { find, create: refuse, mergePatch: refuse };
  const quiet = () => undefined;
  const log = { debug: quiet, info: quiet, error: quiet, warn: (_: unknown, text?: string) => void warnings.push(text ?? "") };
  const options = { client, namespace: "system", watched: undefined, log, readAgainMs: 1 } as unknown as ConstructorParameters<
    typeof Leftovers
  >[0];
  return { leftovers: new Leftovers(options), warnings };
}

test.each([
  { status: 403, remedy: /apply the controller's RBAC/ },
  { status: 422, remedy: /no room left .* replace their pods/ },
])(
  "a ConfigMap that is refused with $status holds no deletion up: the remedy is told, and this process knows it",
  async ({ status, remedy }) => {
    const { leftovers, warnings } = refusedWith(status);
    await leftovers.keep(POD, "x", { roots: ["acme/x"] }, signal);
    expect(warnings).toEqual([expect.stringMatching(remedy)]);
    expect(leftovers.of("u-a", "x")).toEqual({ roots: ["acme/x"] });
  },
);

test("an API server that does not answer is waited for with a deletion", async () => {
  const { leftovers } = refusedWith(500);
  await expect(leftovers.keep(POD, "x", { roots: ["acme/x"] }, signal)).rejects.toMatchObject({ status: 500 });
});

const forbidden = () => Promise.reject(new KubeError("no", { status: 403, reason: "Forbidden" }));

test("a right to read that counts only after a moment is waited for in silence", async () => {
  const answers = [
    forbidden,
    forbidden,
    () =>
      Promise.resolve({
        metadata: { name: "x", namespace: "system" },
        data: { "u-a": JSON.stringify({ pod: "default/a", names: { x: { roots: ["r"] } } }) },
      }),
  ];
  const { leftovers, warnings } = refusedWith(403, () => (answers.shift() ?? forbidden)() as Promise<ConfigMap>);
  await leftovers.load(signal);
  expect(leftovers.of("u-a", "x")).toEqual({ roots: ["r"] });
  expect(warnings).toEqual([]);
});

test("a right to read that is missing does not hold the start up for long", async () => {
  const { leftovers, warnings } = refusedWith(403, forbidden);
  await leftovers.load(signal);
  expect(warnings).toEqual([expect.stringMatching(/apply the controller's RBAC/)]);
});

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

/** A ConfigMap that can be read, and written, from now on or never. */
function unreadAtFirst() {
  const data: Record<string, string> = {
    "u-a": JSON.stringify({ pod: "default/a", names: { old: { roots: ["acme/old"] }, x: { roots: ["acme/older"] } } }),
    "u-b": JSON.stringify({ pod: "default/b", names: { y: { roots: ["acme/y"] } } }),
    "u-c": JSON.stringify({ pod: "default/c", names: { z: { roots: ["acme/z"] } } }),
  };
  const state = { readable: false };
  const client = {
    find: () => (state.readable ? Promise.resolve({ metadata: { name: "x", namespace: "system" }, data: { ...data } }) : forbidden()),
    create: () => Promise.reject(new Error("it is there")),
    mergePatch: (_: unknown, __: unknown, patch: { readonly data: Record<string, string | null> }) => {
      for (const [uid, text] of Object.entries(patch.data)) {
        if (text === null) delete data[uid];
        else data[uid] = text;
      }
      return Promise.resolve({});
    },
  };
  const quiet = () => undefined;
  const options = {
    client,
    namespace: "system",
    watched: undefined,
    log: { debug: quiet, info: quiet, error: quiet, warn: quiet },
    readAgainMs: 1,
  } as unknown as ConstructorParameters<typeof Leftovers>[0];
  const written = () => Object.fromEntries(Object.entries(data).map(([uid, text]) => [uid, JSON.parse(text) as unknown]));
  return { leftovers: new Leftovers(options), written, state };
}

test("what could not be read at the start is read before something is written, and kept, and told of", async () => {
  const { leftovers, written, state } = unreadAtFirst();
  await leftovers.load(signal);
  const late: string[] = [];
  leftovers.onLate(({ key, names }) => late.push(`${key} ${names.join()}`));
  const before = written();
  await leftovers.keep(POD, "x", { roots: ["acme/x"] }, signal);
  expect(written()).toEqual(before);
  expect(leftovers.of("u-a", "x")).toEqual({ roots: ["acme/x"] });
  leftovers.forgetPod("u-c", signal);
  state.readable = true;
  await leftovers.keep(POD, "new", { roots: ["acme/new"], loading: true }, signal);
  expect(late.toSorted()).toEqual(["default/a x,new,old", "default/b y"]);
  expect(written()).toEqual({
    "u-a": {
      pod: "default/a",
      names: { x: { roots: ["acme/older", "acme/x"] }, new: { roots: ["acme/new"], loading: true }, old: { roots: ["acme/old"] } },
    },
    "u-b": { pod: "default/b", names: { y: { roots: ["acme/y"] } } },
    // Struck out with the next thing that is told of it; this process does not believe it any more.
    "u-c": { pod: "default/c", names: { z: { roots: ["acme/z"] } } },
  });
  expect(leftovers.has("u-c")).toBe(false);
});

test("what is dropped before it could be read does not come back with it", async () => {
  const { leftovers, written, state } = unreadAtFirst();
  await leftovers.load(signal);
  await leftovers.keep(POD, "x", { roots: ["acme/x"] }, signal);
  state.readable = true;
  leftovers.drop("u-a", "x", signal);
  await expect.poll(written).toMatchObject({ "u-a": { names: { old: { roots: ["acme/old"] } } } });
  await expect.poll(() => leftovers.of("u-a", "x")).toBeUndefined();
  expect(Object.keys((written()["u-a"] as { names: object }).names)).toEqual(["old"]);
});

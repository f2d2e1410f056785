import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { dockerfileKey, filesKey, packageClosure } from "./content-key.ts";
import type { DockerfileSource } from "./spec.ts";

const SOURCE: DockerfileSource = { kind: "dockerfile", target: "app", package: "app", args: { A: "1" } };
let root: string;

const write = async (file: string, text: string): Promise<void> => {
  await mkdir(dirname(join(root, file)), { recursive: true });
  await writeFile(join(root, file), text);
};
const pkg = (dependencies: Record<string, string>): string =>
  JSON.stringify({ dependencies, devDependencies: { "@aibrix/tests": "workspace:*" } });

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "key-"));
  for (const file of ["Dockerfile", ".dockerignore", "package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"]) await write(file, file);
  for (const file of ["rolldown.config.ts", "tsconfig.base.json"]) await write(file, file);
  await write("packages/app/package.json", pkg({ "@aibrix/base": "workspace:*", fastify: "catalog:" }));
  await write("packages/base/package.json", pkg({}));
  await write("packages/other/package.json", pkg({}));
  await write("packages/app/src/main.ts", "main");
  await write("packages/base/src/index.ts", "index");
});
afterEach(() => rm(root, { recursive: true }));

test("a package's closure is what it needs at run time", async () => {
  expect([...(await packageClosure(root, "app"))]).toEqual(["app", "base"]);
});

test.each([
  ["Dockerfile"],
  ["pnpm-lock.yaml"],
  ["rolldown.config.ts"],
  ["packages/app/src/main.ts"],
  ["packages/app/src/deep/new.ts"],
  ["packages/app/generated/messages.js"],
  ["packages/base/src/index.ts"],
  ["packages/base/package.json"],
])("another %s is another image", async (file) => {
  const before = await dockerfileKey(root, SOURCE, "node");
  await write(file, pkg({ changed: "1" }));
  expect(await dockerfileKey(root, SOURCE, "node")).not.toBe(before);
});

test.each([
  ["packages/app/src/main.test.ts"],
  ["packages/app/test/a.ts"],
  ["packages/app/dist/main.js"],
  ["packages/other/src/a.ts"],
  ["README.md"],
])("another %s is the same image", async (file) => {
  const before = await dockerfileKey(root, SOURCE, "node");
  await write(file, "changed");
  expect(await dockerfileKey(root, SOURCE, "node")).toBe(before);
});

test("target, build arguments and base are part of the key", async () => {
  const keys = [
    await dockerfileKey(root, SOURCE, "node"),
    await dockerfileKey(root, { ...SOURCE, target: "app-dev" }, "node"),
    await dockerfileKey(root, { ...SOURCE, args: { A: "2" } }, "node"),
    await dockerfileKey(root, SOURCE, "another"),
  ];
  expect(new Set(keys).size).toBe(4);
});

test("so are the settings of an image of files", () => {
  const plan = () => Promise.reject(new Error("not asked"));
  const key = (user: string, state: string) => filesKey({ kind: "files", config: { User: user }, plan }, state);
  expect(new Set([key("1", "a"), key("2", "a"), key("1", "b"), key("1", "a")]).size).toBe(3);
});

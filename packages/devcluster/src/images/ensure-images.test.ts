import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Builder } from "./builder.ts";
import { ensureImages, type ImagesContext } from "./ensure-images.ts";
import { assembleImage } from "./oci/assemble.ts";
import type { FilesSource, ImageSpec } from "./spec.ts";

const OFFICIAL = "docker.io/example/server:v1";
let cacheDir: string;
let pulled: string[];

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "images-"));
  pulled = [];
});
afterEach(() => rm(cacheDir, { recursive: true }));

const server = (plan: FilesSource["plan"]): ImageSpec => ({
  name: "server",
  references: ["example/server:v1"],
  source: { kind: "files", official: OFFICIAL, config: { User: "1" }, plan },
});

/** A machine that can make nothing by itself, as one with Docker alone. */
const cannotPlan = () => Promise.reject(new Error("there is no go on PATH"));

/** Its images are empty ones. */
const builder: Builder = {
  name: "docker",
  build: () => Promise.reject(new Error("not asked")),
  publish: () => Promise.reject(new Error("not asked")),
  pull: async (image, layout, ref) => {
    pulled.push(image);
    await assembleImage(layout, ref, [], { User: "official" });
  },
};

function context(hub: boolean): ImagesContext {
  return { cacheDir, builder, reachesHub: async () => hub, log: () => undefined, signal: AbortSignal.timeout(60_000) };
}

test("where docker.io is reached the official image is pulled, and no program of this machine is looked for", async () => {
  const [image] = await ensureImages([server(cannotPlan)], undefined, context(true));
  expect(pulled).toEqual([OFFICIAL]);
  expect(image?.references).toEqual(["example/server:v1"]);
});

test("it is pulled once, and is there without docker.io after", async () => {
  const [first] = await ensureImages([server(cannotPlan)], undefined, context(true));
  const [second] = await ensureImages([server(cannotPlan)], undefined, context(false));
  expect(second).toEqual(first);
  expect(pulled).toHaveLength(1);
});

test("where docker.io is not reached it is made of files of this machine", async () => {
  const stage = async (root: string) => {
    await mkdir(join(root, "bin"));
    await writeFile(join(root, "bin/server"), "program");
    return [{ from: root, to: "/" }];
  };
  const [image] = await ensureImages([server(async () => ({ key: "1", stage }))], undefined, context(false));
  expect(image?.size).toBeGreaterThan(0);
  expect(pulled).toEqual([]);
});

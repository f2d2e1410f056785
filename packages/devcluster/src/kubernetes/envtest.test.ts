import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../parts/run.ts";
import { chooseArchive, fetchEnvtest } from "./envtest.ts";

const file = (v: string, platform: string) => `envtest-${v}-${platform}.tar.gz`;
const entry = (v: string, platform: string) => ({
  [file(v, platform)]: { hash: `sum-${v}-${platform}`, selfLink: `https://h/${v}/${platform}` },
});
const INDEX = {
  releases: {
    "v1.36.9": entry("v1.36.9", "linux-amd64"),
    "v1.37.0": { ...entry("v1.37.0", "linux-amd64"), ...entry("v1.37.0", "darwin-arm64") },
    "v1.37.10": entry("v1.37.10", "linux-amd64"),
    "v1.37.11-rc.1": entry("v1.37.11-rc.1", "linux-amd64"),
    "v1.38.0": entry("v1.38.0", "linux-amd64"),
  },
};

test.each([
  { name: "the newest patch of the minor release", version: "v1.37.2", platform: "linux", arch: "x64", want: "v1.37.10" },
  { name: "the one that has this platform", version: "v1.37.2", platform: "darwin", arch: "arm64", want: "v1.37.0" },
  { name: "none for an unknown platform", version: "v1.37.2", platform: "linux", arch: "riscv64", want: undefined },
  { name: "none for an unknown release", version: "v1.40.0", platform: "linux", arch: "x64", want: undefined },
])("chooses $name", ({ version, platform, arch, want }) => {
  expect(chooseArchive(INDEX, version, platform, arch)?.version).toBe(want);
});

test("an index of another shape has no archive", () => {
  expect(chooseArchive(null, "v1.37.2", "linux", "x64")).toBeUndefined();
});

let dir: string;
let server: Server;
let archive: Buffer;
let sum: string;
let lines: string[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "envtest-test-"));
  lines = [];
  const packed = join(dir, "packed/controller-tools/envtest");
  await mkdir(packed, { recursive: true });
  await Promise.all(["etcd", "kube-apiserver", "kubectl"].map((name) => writeFile(join(packed, name), `#!${name}`)));
  await run({ argv: ["tar", "-czf", join(dir, "a.tar.gz"), "-C", join(dir, "packed"), "controller-tools"] }, AbortSignal.timeout(10_000));
  archive = await readFile(join(dir, "a.tar.gz"));
  sum = createHash("sha512").update(archive).digest("hex");
  server = createServer((request, answer) => {
    if (request.url !== "/index.yaml") return void answer.end(archive);
    const { port } = server.address() as AddressInfo;
    const arch = process.arch === "x64" ? "amd64" : process.arch;
    const name = `envtest-v1.37.0-${process.platform}-${arch}.tar.gz`;
    answer.end(`releases:\n  v1.37.0:\n    ${name}:\n      hash: ${sum}\n      selfLink: http://127.0.0.1:${port}/${name}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

async function fetchInto(target: string): Promise<boolean> {
  await mkdir(target);
  const { port } = server.address() as AddressInfo;
  const context = { log: (line: string) => void lines.push(line), signal: AbortSignal.timeout(10_000) };
  return fetchEnvtest(`http://127.0.0.1:${port}/index.yaml`, "v1.37.2", target, context);
}

test("unpacks an archive whose sum is right", async () => {
  expect(await fetchInto(join(dir, "out"))).toBe(true);
  expect((await readdir(join(dir, "out"))).sort()).toEqual(["etcd", "kube-apiserver", "kubectl"]);
});

test("leaves an archive whose sum is wrong alone", async () => {
  sum = "0".repeat(128);
  expect(await fetchInto(join(dir, "out"))).toBe(false);
  expect(await readdir(join(dir, "out"))).toEqual([]);
  expect(lines.join("\n")).toContain("but its publisher says 000");
});

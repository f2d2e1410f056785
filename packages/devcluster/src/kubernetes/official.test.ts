import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "../parts/run.ts";
import { fetchOfficial } from "./official.ts";

const PROGRAM = "#!/bin/sh\necho fetched\n";
const ARCH = process.arch === "x64" ? "amd64" : process.arch;

let dir: string;
let server: Server;
let sum: string;
let lines: string[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "official-test-"));
  lines = [];
  sum = createHash("sha512").update(PROGRAM).digest("hex");
  server = createServer((request, answer) => {
    const file = `/v1.37.2/bin/linux/${ARCH}/kubelet`;
    if (request.url === `${file}.sha512`) answer.end(sum);
    else if (request.url === file) answer.end(PROGRAM);
    else answer.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

const signal = AbortSignal.timeout(30_000);

function fetchPrograms(...programs: string[]): Promise<boolean> {
  const { port } = server.address() as AddressInfo;
  return fetchOfficial(`http://127.0.0.1:${port}`, "v1.37.2", programs, dir, { log: (line) => void lines.push(line), signal });
}

test("fetches a program whose sum is right, ready to run", async () => {
  expect(await fetchPrograms("kubelet")).toBe(true);
  expect(await run({ argv: [join(dir, "kubelet")] }, signal)).toBe("fetched\n");
});

test("leaves a program whose sum is wrong alone", async () => {
  sum = "0".repeat(128);
  expect(await fetchPrograms("kubelet")).toBe(false);
  expect(await readdir(dir)).toEqual([]);
  expect(lines.join("\n")).toContain("but its publisher says 000");
});

test("takes no page for a sum", async () => {
  sum = "<html>";
  expect(await fetchPrograms("kubelet")).toBe(false);
  expect(lines.join("\n")).toContain("holds no SHA-512 sum");
});

test("says so where one of the programs is not there", async () => {
  expect(await fetchPrograms("kubelet", "kube-proxy")).toBe(false);
  expect(lines.join("\n")).toMatch(/kube-proxy\.sha512 answered 404/);
});

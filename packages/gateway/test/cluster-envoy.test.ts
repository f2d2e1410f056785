// The configuration that a cluster's own Envoy has, as it is committed, with addresses of this machine.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { endpointsFile, ensureEnvoy } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { type DataPath, type EnvoyPlace, startDataPathWith } from "./support/data-path.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const COMMITTED = readFileSync(fileURLToPath(new URL("../../../deploy/envoy/envoy.yaml", import.meta.url)), "utf8");
const folder = mkdtempSync(join(tmpdir(), "aibrix-cluster-envoy-"));
const file = join(folder, "endpoints/engines.json");

/** The committed file with other addresses; each must stand in it. */
function moved({ listenPort, adminPort, grpcPort }: Pick<EnvoyPlace, "listenPort" | "adminPort" | "grpcPort">): string {
  const changes: readonly [string, string][] = [
    ["address: 0.0.0.0", "address: 127.0.0.1"],
    ["port_value: 10080", `port_value: ${listenPort}`],
    ["port_value: 9901", `port_value: ${adminPort}`],
    ["address: aibrix-gateway-plugins.aibrix-system.svc", "address: 127.0.0.1"],
    ["port_value: 50052", `port_value: ${grpcPort}`],
    ["path: /endpoints/engines.json", `path: ${file}`],
    ["path: /endpoints\n", `path: ${dirname(file)}\n`],
  ];
  return changes.reduce((text, [from, to]) => {
    expect(text.split(from)).toHaveLength(2);
    return text.replace(from, to);
  }, COMMITTED);
}

/** As `aibrix_dev_services envoy-endpoints` does: by a rename. */
function tell(...engines: readonly StandInEngine[]): void {
  writeFileSync(`${file}.new`, JSON.stringify(endpointsFile(engines.map(({ port }) => ({ host: "127.0.0.1", port })))));
  renameSync(`${file}.new`, file);
}

let a: StandInEngine;
let b: StandInEngine;
let path: DataPath;

beforeAll(async () => {
  mkdirSync(dirname(file));
  a = await new StandInEngine("a", ["on-a", "on-both"]).start();
  b = await new StandInEngine("b", ["on-b", "on-both"]).start();
  tell();
  const endpoints = [a, b].map(({ url }) => ({ engine: url }));
  path = await startDataPathWith((place) => parse(moved(place)) as object, endpoints);
});

afterAll(async () => {
  await path?.stop();
  await Promise.all([a?.stop(), b?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Waits until Envoy has these engines and no others. */
async function told(...engines: readonly StandInEngine[]): Promise<void> {
  tell(...engines);
  const want = engines.map(({ port }) => `127.0.0.1:${port}`).sort();
  await until(`Envoy knows ${want.join(", ") || "no engine"}`, async () => {
    const text = await (await fetch(`${path.adminUrl}/clusters`)).text();
    const known = new Set([...text.matchAll(/^aibrix-engines::([\d.]+:\d+)::/gm)].map(([, address]) => address));
    return JSON.stringify([...known].sort()) === JSON.stringify(want);
  });
}

test("Envoy accepts the committed configuration", async () => {
  const { bin } = await ensureEnvoy({ log: () => undefined, signal: AbortSignal.timeout(240_000) });
  const config = join(folder, "envoy.yaml");
  const validate = () => promisify(execFile)(bin, ["--mode", "validate", "--disable-hot-restart", "-c", config], { timeout: 60_000 });
  writeFileSync(config, moved({ listenPort: 10_080, adminPort: 9901, grpcPort: 50_052 }));
  expect((await validate()).stdout).toContain("OK");
  writeFileSync(config, COMMITTED.replace("failure_mode_allow", "failure_mode_allowed"));
  await expect(validate()).rejects.toThrow("failure_mode_allowed");
});

test("an engine is reached from the moment it stands in the file, without a restart, and not after it has left", async () => {
  const pid = path.envoy.child.pid;
  expect(await path.complete("on-a")).toMatchObject({ status: 503, json: { error: { code: "engine_unavailable" } } });
  expect([a.count, b.count]).toEqual([0, 0]);

  await told(a);
  expect((await path.complete("on-a")).json.engine).toBe("a");
  expect((await path.complete("on-b")).status).not.toBe(200);
  expect(b.count).toBe(0);

  await told(a, b);
  expect((await path.complete("on-b")).json.engine).toBe("b");

  await told(b);
  const before = a.count;
  expect((await path.complete("on-a")).status).not.toBe(200);
  expect((await path.complete("on-both")).json.engine).toBe("b");
  expect(a.count).toBe(before);
  expect([path.envoy.child.pid, path.envoy.child.exitCode]).toEqual([pid, null]);
});

test("an answer that is under way when its engine leaves the file comes to its end", async () => {
  await told(a);
  const begun = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  a.handler = (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write("data: first\n\n");
    begun.resolve();
    void left.promise.then(() => response.end("data: last\n\n"));
  };
  onTestFinished(() => {
    a.handler = undefined;
    left.resolve();
  });
  const answer = path.complete("on-a");
  await begun.promise;
  await told();
  left.resolve();
  expect(await answer).toMatchObject({ status: 200, text: "data: first\n\ndata: last\n\n" });
});

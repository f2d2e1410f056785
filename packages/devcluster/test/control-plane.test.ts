import { spawn } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { type ControlPlane, ensureKubernetes, type KubernetesBinaries, startControlPlane } from "@aibrix/devcluster";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { call } from "./support/api-call.ts";

const signal = AbortSignal.timeout(3_600_000);
const started: ControlPlane[] = [];
let binaries: KubernetesBinaries;

beforeAll(async () => {
  binaries = await ensureKubernetes({ log: console.log, signal });
}, 3_600_000);

afterEach(async () => {
  await Promise.all(started.splice(0).map((p) => p.stop()));
});

async function start(): Promise<ControlPlane> {
  const plane = await startControlPlane({ binaries }, signal);
  started.push(plane);
  return plane;
}

const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";

test("several run side by side, each with its own objects; one keeps them over kill -9 and a restart", async () => {
  const [a, b] = await Promise.all([start(), start()]);
  expect((await call(a.admin, "POST", CONFIG_MAPS, { metadata: { name: "mine" } })).status).toBe(201);
  expect((await call(b.admin, "GET", `${CONFIG_MAPS}/mine`)).status).toBe(404);
  await a.killApiserver();
  await expect(call(a.admin, "GET", `${CONFIG_MAPS}/mine`)).rejects.toThrow();
  await a.startApiserver(signal);
  expect((await call(a.admin, "GET", `${CONFIG_MAPS}/mine`)).status).toBe(200);
});

test("RBAC holds for a user's certificate", async () => {
  const plane = await start();
  const file = await plane.kubeconfigFor("eve", { user: "eve/the+reader", groups: ["readers"] }, signal);
  const { users } = JSON.parse(await readFile(file, "utf8"));
  const decode = (text: string) => Buffer.from(text, "base64").toString();
  const eve = { ...plane.admin, cert: decode(users[0].user["client-certificate-data"]), key: decode(users[0].user["client-key-data"]) };
  const answer = await call(eve, "GET", CONFIG_MAPS);
  expect(answer.status).toBe(403);
  expect(answer.body.message).toContain('User "eve/the+reader" cannot list');
});

test("a flag that the API server does not know is told with the end of its log", async () => {
  await expect(startControlPlane({ binaries, apiserverArgs: ["--no-such-flag"] }, signal)).rejects.toThrow(/no-such-flag/);
});

test("nothing outlives a test process that is killed", async () => {
  const script = `
    const { startControlPlane } = await import(${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)});
    const plane = await startControlPlane({ binaries: ${JSON.stringify(binaries)} }, AbortSignal.timeout(120000));
    console.log(JSON.stringify({ dir: plane.dir, admin: plane.admin }));
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--conditions=@aibrix/source", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { dir, admin } = await new Promise<{ dir: string; admin: ControlPlane["admin"] }>((resolve, reject) => {
    child.stdout.once("data", (text: Buffer) => resolve(JSON.parse(text.toString())));
    child.once("exit", () => reject(new Error("the process ended before the control plane was up")));
  });
  expect((await call(admin, "GET", "/readyz")).status).toBe(200);
  child.kill("SIGKILL");
  await vi.waitFor(() => expect(call(admin, "GET", "/readyz")).rejects.toThrow("ECONNREFUSED"), { timeout: 20_000 });
  await vi.waitFor(() => expect(access(dir)).rejects.toThrow("ENOENT"), { timeout: 20_000 });
});

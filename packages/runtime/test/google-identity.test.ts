import { mkdirSync, writeFileSync } from "node:fs";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Google, startGoogle } from "./support/google.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type Gcs, startGcs } from "./support/servers.ts";
import { type Runtime, World } from "./support/world.ts";

/* gs:// with what Google's own hosts check: the emulator alone takes every token, and none. */
const world = new World();
let engine: Program;
let gcs: Gcs;
let google: Google;

beforeAll(async () => {
  gcs = await startGcs();
  await writeAdapter(world.path("adapter"), { seed: 1 });
  await gcs.putFolder("adapter", world.path("adapter"));
  mkdirSync(world.path("google"));
  google = await startGoogle(world.path("google"), gcs);
  writeFileSync(world.path("account.json"), google.account);
  engine = await world.engine();
}, 600_000);
afterAll(async () => {
  await stopPrograms();
  await google?.close();
  await gcs?.close();
  world.remove();
});
beforeEach(() => {
  (google.asked as string[]).length = 0;
});

const start = (dir: string, env: NodeJS.ProcessEnv = {}) =>
  world.runtime(engine.url, { args: [`--artifacts-dir=${world.path(dir)}`], env: { ...google.env, ...env } });

async function brings(runtime: Runtime, name: string, credentials: object = {}) {
  await runtime.load(name, "gs://models/adapter", { credentials });
  const { state, message } = await runtime.until(name, { state: expect.stringMatching(/Serving|Failed/) });
  expect([state, message]).toEqual(["Serving", undefined]);
  const shown = runtime.program.output() + JSON.stringify(await runtime.snapshot());
  expect(shown).not.toContain("PRIVATE KEY");
  for (const token of google.given) expect(shown).not.toContain(token);
}

test("a Secret's service account: its key signs, Google's token opens; another key, and none, are denied", async () => {
  const runtime = await start("secret", { METADATA_SERVER_DETECTION: "none" });
  await runtime.load("nobody", "gs://models/adapter");
  expect((await runtime.failed("nobody", "ArtifactDenied")).message).toMatch(/no Google credentials.*gcp_service_account_json/);
  expect(google.asked.join()).not.toContain("oauth2");
  await runtime.load("stranger", "gs://models/adapter", { credentials: { gcp_service_account_json: google.stranger } });
  expect(await runtime.failed("stranger", "ArtifactDenied")).toMatchObject({
    message: expect.stringMatching(/refused the credentials for gs:\/\/models\/adapter\/.*storage\.objects\.get/),
    retryable: false,
  });
  await brings(runtime, "secret", { gcp_service_account_json: google.account });
  expect(google.asked).toContain("storage.googleapis.com/storage/v1/b/models/o");
});

test("the runtime's own: a service account in GOOGLE_APPLICATION_CREDENTIALS", async () => {
  await brings(await start("file", { GOOGLE_APPLICATION_CREDENTIALS: world.path("account.json") }), "file");
  expect(google.asked).toContain("oauth2.googleapis.com/token");
});

test("the runtime's own: that of the machine, from its metadata server", async () => {
  await brings(await start("machine", { GCE_METADATA_HOST: google.metadataHost }), "machine");
  expect(google.asked.filter((a) => a.startsWith("metadata")).join()).toContain("/service-accounts/default/token");
  expect(google.asked).not.toContain("oauth2.googleapis.com/token");
});

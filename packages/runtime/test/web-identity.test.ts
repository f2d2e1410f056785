import { writeFileSync } from "node:fs";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Front } from "./support/front.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { startSessionFront } from "./support/session-front.ts";
import { type Sts, serviceAccountToken, startSts } from "./support/web-identity.ts";
import { type Runtime, World } from "./support/world.ts";

/*
 * A pod's service account is exchanged for the keys of a session, as on EKS. The token service checks the token; signatures and session tokens
 * are checked before versitygw, which takes no tokens of another token service.
 */
const world = new World();
const TOKEN_FILE = world.path("token");
let engine: Program;
let s3: S3;
let sts: Sts;
let front: Front;
let runtime: Runtime;

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  sts = await startSts(s3);
  front = await startSessionFront(s3, sts.given);
  await writeAdapter(world.path("adapter"), { seed: 1 });
  await s3.putFolder("models", "adapter", world.path("adapter"));
  engine = await world.engine();
  runtime = await world.runtime(engine.url, {
    env: {
      AWS_ENDPOINT_URL_S3: front.url,
      AWS_ENDPOINT_URL_STS: sts.url,
      AWS_REGION: "us-east-1",
      AWS_ROLE_ARN: sts.role,
      AWS_WEB_IDENTITY_TOKEN_FILE: TOKEN_FILE,
    },
  });
});
afterAll(async () => {
  await stopPrograms();
  await front?.close();
  await sts?.close();
  await s3?.close();
  world.remove();
});

test.each([
  { name: "forged", token: () => serviceAccountToken().replace(/\.[^.]*$/, ".Zm9yZ2Vk"), says: "InvalidIdentityToken", retryable: false },
  { name: "for-others", token: () => serviceAccountToken(3_600, "somebody-else"), says: "InvalidIdentityToken", retryable: false },
  { name: "expired", token: () => serviceAccountToken(-60), says: "ExpiredTokenException", retryable: true },
])("a token that is $name is told as denied", async ({ name, token, says, retryable }) => {
  writeFileSync(TOKEN_FILE, token());
  await runtime.load(name, "s3://models/adapter");
  expect(await runtime.failed(name, "ArtifactDenied")).toMatchObject({
    message: expect.stringMatching(new RegExp(`token service refused the identity.*${says}.*AWS_WEB_IDENTITY_TOKEN_FILE`)),
    retryable,
  });
  expect(sts.given.size).toBe(0);
});

test("a good one brings the adapter, and appears nowhere", async () => {
  const token = serviceAccountToken();
  writeFileSync(TOKEN_FILE, token);
  await runtime.load("good", "s3://models/adapter");
  const { state, message } = await runtime.until("good", { state: expect.stringMatching(/Serving|Failed/) });
  expect([state, message]).toEqual(["Serving", undefined]);
  expect(sts.given.size).toBeGreaterThan(0);
  const shown = runtime.program.output() + JSON.stringify(await runtime.snapshot());
  for (const secret of [token, s3.secretAccessKey, ...sts.given]) expect(shown).not.toContain(secret);
});

test("the session's keys never go to an endpoint of a Secret", async () => {
  await runtime.load("stranger", "s3://models/adapter", { credentials: { aws_endpoint_url: s3.endpoint } });
  expect((await runtime.failed("stranger", "ArtifactDenied")).message).toMatch(/no AWS credentials/);
});

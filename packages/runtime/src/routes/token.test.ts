import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Fastify, { type FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RequestError } from "../errors.ts";
import { requireToken } from "./token.ts";

let dir: string;
let file: string;
let app: FastifyInstance;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "token-"));
  file = join(dir, "token");
  app = Fastify();
  app.setErrorHandler((error, _request, reply) =>
    reply.code(error instanceof RequestError ? error.status : 500).send((error as Error).message),
  );
  app.post("/", { onRequest: requireToken(file) }, async () => "done");
});
afterEach(async () => {
  await app.close();
  await rm(dir, { recursive: true });
});

const post = async (authorization?: string) => {
  const { statusCode, body, headers } = await app.inject({
    method: "POST",
    url: "/",
    headers: authorization === undefined ? {} : { authorization },
  });
  return { statusCode, body, challenge: headers["www-authenticate"] };
};

test.each([undefined, "Bearer wrong", "Bearer ", "Basic c2VjcmV0", "secret", "Bearer secretx"])(
  "%s is 401, and the token is not told",
  async (given) => {
    await writeFile(file, "secret\n");
    const answer = await post(given);
    expect(answer).toMatchObject({ statusCode: 401, challenge: "Bearer" });
    expect(answer.body).toContain("--token-file");
    expect(answer.body).not.toContain("secret");
  },
);

test("the token passes, and a new one as soon as it is in the file", async () => {
  await writeFile(file, "secret\n");
  expect((await post("Bearer secret")).statusCode).toBe(200);
  await writeFile(file, "other");
  expect((await post("Bearer secret")).statusCode).toBe(401);
  expect((await post("bearer other")).statusCode).toBe(200);
});

test.each(["", "\n"])("a file that holds %j lets nobody pass", async (text) => {
  await writeFile(file, text);
  expect(await post("Bearer ")).toMatchObject({ statusCode: 503, body: expect.stringContaining("mount the Secret") });
});

test("a body is not looked at before the token was", async () => {
  await writeFile(file, "secret");
  const headers = { "content-type": "application/json" };
  expect((await app.inject({ method: "POST", url: "/", headers, payload: "{" })).statusCode).toBe(401);
});

test("nor does one that is not there", async () => {
  expect((await post("Bearer x")).statusCode).toBe(503);
});

// An engine that wants an API key: the adapter that has it in additionalConfig is served, the other one says what to set.
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { cli, ENGINE, ROOT } from "../support/cli.ts";
import { ask, complete, models } from "../support/client.ts";
import { BASE_MODEL } from "../support/manifest.ts";
import { commandLines } from "../support/processes.ts";
import { newFolder, type Stack, startStack } from "../support/stack.ts";
import { adapterState } from "../support/states.ts";

const SAMPLES = join(ROOT, "samples/adapter");
const KEY = (parse(readFileSync(join(SAMPLES, "adapter-with-key.yaml"), "utf8")) as { spec: { additionalConfig: { "api-key": string } } })
  .spec.additionalConfig["api-key"];

let stack: Stack;
beforeAll(async () => {
  const folder = newFolder();
  cpSync(SAMPLES, join(folder, "adapters"), { recursive: true });
  writeFileSync(join(folder, "key"), `${KEY}\n`, { mode: 0o600 });
  stack = await startStack({ folder, args: [`--api-key-file=${join(folder, "key")}`] });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

test("the adapter without the key says what to set, already while the stack starts", async () => {
  const { reason, message } = await adapterState(stack, "qwen-code-lora", (a) => a.state === "Failed");
  expect(reason).toBe("EngineUnauthorized");
  expect(message).toMatch(/wants an API key.*additionalConfig\.api-key/);
  expect(stack.output).toMatch(/warning: qwen-code-lora on engine-1: Failed {2}EngineUnauthorized: .*additionalConfig\.api-key/);
  expect(stack.output).not.toMatch(/warning: qwen-code-lora-with-key/);
});

test("samples/adapter/adapter-with-key.yaml is served to clients that bring the key", async () => {
  const { status, body } = await complete(stack.gateway, "qwen-code-lora-with-key", KEY);
  expect(status, body).toBe(200);
  expect((await complete(stack.gateway, BASE_MODEL, KEY)).status).toBe(200);
  expect(await models(stack.gateway)).toEqual(expect.arrayContaining([BASE_MODEL, "qwen-code-lora-with-key"]));
});

test.runIf(ENGINE === "mock")("it answers from its weights", async () => {
  const answer = await ask(stack.gateway, "qwen-code-lora-with-key", KEY);
  expect(answer.digest).toBe(await stack.digest("ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora"));
});

test("a client without the key, or with another one, gets the engine's 401", async () => {
  expect((await complete(stack.gateway, "qwen-code-lora-with-key")).status).toBe(401);
  expect((await complete(stack.gateway, BASE_MODEL, "sk-another")).status).toBe(401);
});

test("the texts that start and status print name the key's file and never the key", async () => {
  expect(stack.output).toContain(`-H "Authorization: Bearer $(cat ${join(stack.folder, "key")})"`);
  const { output } = await cli(["status", "--dir", stack.dir]);
  const json = await cli(["status", "--json", "--dir", stack.dir]);
  for (const text of [stack.output, output, json.output]) expect(text).not.toContain(KEY);
});

test.runIf(process.platform === "linux")("the key is in no process list", () => {
  const lines = commandLines();
  expect(lines.some((line) => line.includes(stack.dir))).toBe(true); // The list is a real one.
  expect(lines.filter((line) => line.includes(KEY))).toEqual([]);
});

test("the key is in no file of the state folder: no log, no record, no configuration", async () => {
  const holders = () =>
    readdirSync(stack.dir, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile())
      .map((e) => join(e.parentPath, e.name))
      .filter((path) => readFileSync(path).includes(KEY));
  expect(holders()).toEqual([]);
  writeFileSync(join(stack.dir, "logs/planted.log"), `x ${KEY} y`);
  expect(holders()).toEqual([join(stack.dir, "logs/planted.log")]); // The search finds what is there.
});

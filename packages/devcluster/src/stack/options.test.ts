import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { COMMANDS, helpText } from "./flags.ts";
import { readApiKey, readStartOptions } from "./options.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "aibrix-options-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const read = (...argv: string[]) => readStartOptions(["--adapters", dir, ...argv], { cwd: dir, workspace: "/workspace" });

test("defaults: one mock engine, the state folder in the workspace", () => {
  expect(read()).toEqual({
    mode: "standalone",
    detach: false,
    dir: "/workspace/.aibrix",
    adapters: dir,
    engine: "mock",
    engineCount: 1,
    engineUrls: [],
    engineArgs: [],
    apiKeyFile: undefined,
    s3: false,
    hub: undefined,
    port: undefined,
  });
});

test("a path that is given starts where the user is, also when it reads like the default", () => {
  expect(read("--dir", ".aibrix")?.dir).toBe(join(dir, ".aibrix"));
  expect(read("--dir=/elsewhere")?.dir).toBe("/elsewhere");
});

test("engines of the user replace ours, in the order given; /v1 at the end is no part of the address", () => {
  const options = read("--engine-url", "http://127.0.0.1:8000/v1", "--engine-url=http://localhost:8001/");
  expect(options).toMatchObject({ engine: "external", engineCount: 0, engineUrls: ["http://127.0.0.1:8000", "http://localhost:8001"] });
});

test("arguments for the engines pass as they are", () => {
  expect(read("--engine-arg=--max-lora-rank=32", "--engine-arg=--max-loras=4")).toMatchObject({
    engineArgs: ["--max-lora-rank=32", "--max-loras=4"],
  });
});

test.each([
  { argv: ["--engine=sglang"], says: /--engine=sglang must be mock or vllm/ },
  { argv: ["--engines=0"], says: /--engines=0 must be a whole number from 1 to 16/ },
  { argv: ["--engines=two"], says: /--engines=two must be a whole number/ },
  { argv: ["--port=70000"], says: /--port=70000 must be a whole number from 1 to 65535/ },
  { argv: ["--port="], says: /--port= must be a whole number/ },
  { argv: ["--dir="], says: /--dir needs a path/ },
  { argv: ["--adapters=/does/not/exist"], says: /--adapters=\/does\/not\/exist is no folder: create it/ },
  { argv: ["--hub=huggingface.co"], says: /--hub must be an address such as http:/ },
  { argv: ["--engine-url=localhost:8000"], says: /--engine-url must be an address such as/ },
  { argv: ["--engine-url=http://a:8000", "--engine=mock"], says: /--engine-url uses engines that run already, so --engine has nothing/ },
  { argv: ["--engine-url=http://a:8000", "--engine-arg=--x"], says: /--engine-arg has nothing to act on/ },
  { argv: ["--engine-arg=--api-key=sk-secret"], says: /--api-key-file=FILE/ },
  { argv: ["--engine-arg=--api_key"], says: /--api-key-file=FILE/ },
  { argv: ["--api-key-file=/does/not/exist"], says: /cannot be read \(ENOENT\): write the key into that file/ },
  { argv: ["--nonsense"], says: /Unknown option '--nonsense'[\s\S]*--help shows every flag/ },
  { argv: ["stray"], says: /Unexpected argument 'stray'/ },
])("refuses $argv", ({ argv, says }) => {
  expect(() => read(...argv)).toThrow(says);
});

test("a key is one word; no message repeats it", () => {
  const file = join(dir, "key");
  writeFileSync(file, "sk-secret\n");
  expect(readApiKey(file)).toBe("sk-secret");
  for (const text of ["", "sk-secret two", "sk-sécret"]) {
    writeFileSync(file, text);
    expect(() => readApiKey(file)).toThrow(expect.objectContaining({ message: expect.not.stringMatching(/sk-/) }));
  }
});

test("--help asks for the help, which names every flag and its default", () => {
  expect(read("--help")).toBeUndefined();
  const text = helpText(COMMANDS.start);
  for (const name of Object.keys(COMMANDS.start.flags)) expect(text).toContain(`--${name}`);
  expect(text).toContain("(default .aibrix)");
});

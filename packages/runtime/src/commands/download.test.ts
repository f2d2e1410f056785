import { ConfigError } from "@aibrix/service";
import { describe, expect, test } from "vitest";
import { NEVER } from "../../test/fakes.ts";
import { download } from "./download.ts";

async function run(argv: readonly string[], env: NodeJS.ProcessEnv = {}) {
  let stdout = "";
  let stderr = "";
  const io = {
    env,
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
  };
  return { code: await download(argv, io, NEVER), stdout, stderr };
}

const WHERE = "--local-dir=/nowhere/models";

describe("a command line that cannot be used", () => {
  test.each([
    { name: "no model", argv: [WHERE], says: "--model-uri" },
    { name: "no folder", argv: ["--model-uri=acme/tiny"], says: "--local-dir" },
    { name: "an unknown flag", argv: ["--model=acme/tiny"], says: "--help" },
    { name: "a word for a flag", argv: ["acme/tiny"], says: "--help" },
    { name: "no URI", argv: ["--model-uri=tiny", WHERE], says: "ORG/REPO" },
    { name: "a password in the URI", argv: ["--model-uri=ftp://me:hunter2@host/x", WHERE], says: "***@host" },
    { name: "a path", argv: ["--model-uri=/models/tiny", WHERE], says: "is a folder that is mounted here" },
    { name: "an archive", argv: ["--model-uri=https://example.com/a.zip", WHERE], says: "only adapters come as one" },
    { name: "a name that walks up", argv: ["--model-uri=acme/tiny", WHERE, "--model-name=.."], says: "cannot be the model's folder" },
    {
      name: "no Secret",
      argv: ["--model-uri=acme/tiny", WHERE, "--credentials-dir=/nowhere"],
      says: "--credentials-dir=/nowhere: cannot be read",
    },
    {
      name: "a Secret without keys of ours",
      argv: ["--model-uri=acme/tiny", WHERE, `--credentials-dir=${import.meta.dirname}`],
      says: "has none of",
    },
    {
      name: "no number of threads",
      argv: ["--model-uri=acme/tiny", WHERE],
      env: { DOWNLOADER_NUM_THREADS: "many" },
      says: "DOWNLOADER_NUM_THREADS",
    },
  ])("$name", async ({ argv, env = {}, says }) => {
    const error = await run(argv, env).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as Error).message).toContain(says);
    expect((error as Error).message).not.toContain("hunter2");
  });
});

test("help names every flag and variable", async () => {
  const { code, stdout } = await run(["--help"]);
  expect(code).toBe(0);
  for (const word of ["--model-uri", "--allow-file-suffix", "--credentials-dir", "DOWNLOADER_NUM_THREADS", "HF_ENDPOINT", "Exit codes"])
    expect(stdout).toContain(word);
});

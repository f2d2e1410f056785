// The commands that the README shows are run as they stand, but in a state folder of their own.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cli, ENGINE, ROOT } from "../support/cli.ts";

const RUN_MS = 170_000;

describe.skipIf(ENGINE === "vllm")("README", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "aibrix-readme-"));
  });
  afterAll(async () => {
    await cli(["stop", "--dir", dir]);
    rmSync(dir, { recursive: true, force: true });
  });

  test("the commands under Try it do what it says", async () => {
    const blocks = shellBlocks(readFileSync(join(ROOT, "README.md"), "utf8"), "Try it");
    expect(blocks.length).toBeGreaterThanOrEqual(3);
    const script = blocks.map((block) => inFolder(block, dir)).join("\n");
    // Otherwise it would touch the stack that the developer has running.
    expect(script).not.toContain(".aibrix/");
    const { code, output } = await shell(`set -e\n${script}`);
    expect(code, output).toBe(0);
    expect(output).toContain("ready after");
    expect(output).toContain("[qwen-coder-1-5b-instruct base]");
    expect(output).toMatch(/\[qwen-code-lora sha256:[0-9a-f]{12}\]/);
    expect(output).toMatch(/^qwen-code-lora +engine-1 +Serving/m);
    expect(output).toMatch(/Stopped after/);
  });
});

/** Fenced `sh` blocks of the section under a heading. */
function shellBlocks(markdown: string, heading: string): readonly string[] {
  const section = markdown.split(/^## /m).find((s) => s.startsWith(heading)) ?? "";
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map((m) => m[1] ?? "");
}

/** The same commands with `--dir`, and its files instead of those of the default folder. */
function inFolder(block: string, dir: string): string {
  return block
    .replaceAll(/^(npm start)( -- (.*))?$/gm, (_all, command: string, _flags, rest = "") => `${command} -- --dir ${dir} ${rest}`)
    .replaceAll(/(npm run(?: --?[\w-]+)* (?:stop|status))(?: -- )?/g, `$1 -- --dir ${dir} `)
    .replaceAll("./.aibrix/", `${dir}/`)
    .replaceAll(".aibrix/", `${dir}/`);
}

async function shell(script: string): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn("bash", ["-c", script], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"], timeout: RUN_MS });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

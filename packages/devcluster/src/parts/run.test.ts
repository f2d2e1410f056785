import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { groupMembers } from "../stack/process-id.ts";
import { findByEnv, findOnPath } from "./find.ts";
import { PartError } from "./part-context.ts";
import { ask, CommandError, run } from "./run.ts";

const never = new AbortController().signal;
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "run-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true, force: true });
});

describe("run", () => {
  test("gives stdout, with variables added and removed", async () => {
    vi.stubEnv("GONE", "1");
    const argv = ["sh", "-c", 'echo "$ADDED $GONE"; echo noise >&2'] as const;
    expect(await run({ argv, env: { ADDED: "x", GONE: undefined } }, never)).toBe("x \n");
  });

  test("a failure shows the last lines of both outputs", async () => {
    const argv = ["sh", "-c", "seq 100; echo cause >&2; exit 3"] as const;
    const error = await run({ argv, tailLines: 2 }, never).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CommandError);
    expect(error).toMatchObject({ tail: "100\ncause", message: expect.stringContaining("ended with 3\n100\ncause") });
  });

  test("a missing program is told by name", async () => {
    await expect(run({ argv: ["no-such-program"] }, never)).rejects.toThrow(PartError);
    await expect(run({ argv: ["no-such-program"] }, never)).rejects.toThrow("cannot start no-such-program");
  });

  test("a command that takes too long is ended", async () => {
    await expect(run({ argv: ["sleep", "300"], timeoutMs: 100 }, never)).rejects.toThrow("sleep 300 took longer than 0.1 s");
  });

  test("an abort ends the whole process group", async () => {
    const groupFile = join(dir, "group");
    const stop = new AbortController();
    const running = run({ argv: ["sh", "-c", `sleep 300 & echo $$ > ${groupFile}; wait`] }, stop.signal);
    running.catch(() => undefined);
    await vi.waitFor(async () => expect(await readFile(groupFile, "utf8")).toMatch(/\d+\n/), { timeout: 10_000 });
    const group = Number(await readFile(groupFile, "utf8"));
    expect(groupMembers(group)).toHaveLength(2);
    stop.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    expect(groupMembers(group)).toEqual([]);
  });

  test("asking gives undefined for a failure, but not for an abort", async () => {
    expect(await ask(["sh", "-c", "exit 1"], never)).toBeUndefined();
    expect(await ask(["no-such-program"], never)).toBeUndefined();
    await expect(ask(["true"], AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

describe("find", () => {
  test("the first program on PATH that can be run", async () => {
    await writeFile(join(dir, "tool"), "");
    vi.stubEnv("PATH", dir);
    expect(await findOnPath("tool")).toBeUndefined();
    await chmod(join(dir, "tool"), 0o755);
    expect(await findOnPath("tool")).toBe(join(dir, "tool"));
  });

  test("a variable that names no program is an error, an empty one is none", async () => {
    vi.stubEnv("AIBRIX_TOOL_BIN", "");
    expect(await findByEnv("AIBRIX_TOOL_BIN")).toBeUndefined();
    vi.stubEnv("AIBRIX_TOOL_BIN", join(dir, "nothing"));
    await expect(findByEnv("AIBRIX_TOOL_BIN")).rejects.toThrow("correct it or unset it");
    vi.stubEnv("AIBRIX_TOOL_BIN", process.execPath);
    expect(await findByEnv("AIBRIX_TOOL_BIN")).toBe(process.execPath);
  });
});

// `npm start` in a terminal: shows what happens while it happens, and ends with Ctrl-C.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { StandaloneFile } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { cli, ENGINE, MAIN } from "../support/cli.ts";
import { dropManifest, manifest } from "../support/manifest.ts";
import { addresses, listens, runs } from "../support/processes.ts";
import { newFolder } from "../support/stack.ts";

const SHOWN_MS = 60_000;

describe.skipIf(ENGINE === "vllm")("in the foreground", () => {
  let folder: string;
  let command: ChildProcess;
  let output = "";
  beforeAll(() => {
    folder = newFolder();
    const args = [MAIN, "start", "--dir", join(folder, "state"), "--adapters", join(folder, "adapters")];
    command = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [command.stdout, command.stderr]) stream?.on("data", (chunk) => (output += String(chunk)));
  });
  afterAll(async () => {
    await cli(["stop", "--dir", join(folder, "state")]);
    rmSync(folder, { recursive: true, force: true });
  });

  const shown = (text: RegExp) => vi.waitFor(() => expect(output).toMatch(text), { timeout: SHOWN_MS, interval: 20 });

  test("it says what to type next, in plain text", async () => {
    await shown(/ready after[\s\S]*End everything: .*or Ctrl-C here/);
    expect(output).not.toContain("\x1b");
  });

  test("each change is a line: an adapter that comes, one that fails, a manifest that is none, an adapter that goes", async () => {
    dropManifest(join(folder, "adapters"), "sql.yaml", manifest("sql-lora", "hf://acme/sql-lora"));
    await shown(/^\d\d:\d\d:\d\d {2}sql-lora +engine-1 +Serving +[0-9a-f]{12}$/m);
    dropManifest(join(folder, "adapters"), "bad.yaml", manifest("bad", "/does/not/exist"));
    await shown(/^\d\d:\d\d:\d\d {2}bad +engine-1 +Failed +ArtifactNotFound: \/does\/not\/exist/m);
    dropManifest(join(folder, "adapters"), "broken.yaml", "kind: [");
    await shown(/^\d\d:\d\d:\d\d {2}broken\.yaml +engine-1 +Problem +line 1/m);
    rmSync(join(folder, "adapters/sql.yaml"));
    await shown(/^\d\d:\d\d:\d\d {2}sql-lora +engine-1 +Removed$/m);
  });

  test("Ctrl-C ends it in order and leaves nothing", async () => {
    const file = JSON.parse(readFileSync(join(folder, "state/stack.json"), "utf8")) as StandaloneFile;
    const ended = once(command, "exit");
    command.kill("SIGINT");
    command.kill("SIGINT"); // npm and the terminal both pass it on.
    expect(await ended).toEqual([0, null]);
    expect(output).toMatch(/stopping\n.*stopped\n$/);
    expect(Object.entries(file.pids).filter(([, pid]) => runs(pid))).toEqual([]);
    for (const url of addresses(file)) expect(await listens(url), url).toBe(false);
  });
});

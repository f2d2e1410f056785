#!/usr/bin/env node
import { runMain } from "@aibrix/service";
import { download } from "../commands/download.ts";

// As a program of its own: pods that come from AIBrix call it so.
await runMain("aibrix_download", async (signal) => {
  process.exit(await download(process.argv.slice(2), { env: process.env, stdout: process.stdout, stderr: process.stderr }, signal));
});

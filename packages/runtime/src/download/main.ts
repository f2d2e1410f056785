#!/usr/bin/env -S node --max-semi-space-size=4 --heap-growing-percent=30
// The first line's flags collect garbage early: by itself Node lets it grow with the machine's memory, which a sidecar should leave to the engine.
import { runMain } from "@aibrix/service";
import { download } from "../commands/download.ts";

// As a program of its own: pods that come from AIBrix call it so.
await runMain("aibrix_download", async (signal) => {
  process.exit(await download(process.argv.slice(2), { env: process.env, stdout: process.stdout, stderr: process.stderr }, signal));
});

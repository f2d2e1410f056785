#!/usr/bin/env -S node --max-semi-space-size=4 --heap-growing-percent=30
// The first line's flags collect garbage early: by itself Node lets it grow with the machine's memory, which a sidecar should leave to the engine.
import { aborted, ConfigError, runMain, sleep } from "@aibrix/service";
import { findCommand } from "./commands/commands.ts";
import { help, readConfig } from "./config.ts";
import { messageOf } from "./errors.ts";
import { createRuntime, type Runtime } from "./runtime.ts";

/** Longest time to close in, in milliseconds; what still runs then is only waiting for somebody else. */
const CLOSE_TIMEOUT_MS = 4_000;

await runMain("aibrix_runtime", async (signal, log) => {
  const command = findCommand(process.argv.slice(2));
  if (command !== undefined) process.exit(await command({ env: process.env, stdout: process.stdout, stderr: process.stderr }, signal));
  const config = readConfig(process.argv.slice(2), process.env);
  if (config === undefined) {
    process.stdout.write(help());
    return;
  }
  let runtime: Runtime;
  try {
    runtime = await createRuntime(config, { env: process.env, log });
  } catch (error) {
    throw new ConfigError(
      `--artifacts-dir=${config.artifactsDir} cannot be used (${messageOf(error)}): write a folder that this user may write to`,
    );
  }
  const { host, port, engineEndpoint, artifactsDir, adaptersDir } = config;
  try {
    const address = await runtime.app.listen({ host, port });
    log.info({ address, engine: engineEndpoint, artifactsDir, adaptersDir }, "listening");
    await aborted(signal);
    log.info("ending: adapters stay in the engine");
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "EADDRINUSE"
      ? new ConfigError(`--port=${port}: something else listens there; choose another`)
      : error;
  } finally {
    await Promise.race([runtime.close(), sleep(CLOSE_TIMEOUT_MS, new AbortController().signal)]);
  }
});

import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { ConfigError, type Logger, sleep } from "@aibrix/service";
import { type Endpoint, parseEndpoints } from "./config.ts";

/** The file is also read this often, in milliseconds: some file systems and mounts report no changes. */
const POLL_MS = 2_000;
/** Changes in quick succession are one. */
const SETTLE_MS = 50;

/**
 * Reads an endpoints file.
 *
 * @throws {@link ConfigError} where it cannot be read or used
 */
export async function readEndpointsFile(file: string): Promise<readonly Endpoint[]> {
  return parseEndpoints(await readText(file), file);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code ?? "error"}`);
  }
}

/**
 * Reads the file again whenever it changes, until the signal aborts. What cannot be used is logged, and what was read before stays.
 *
 * @param apply - takes the endpoints of every change
 */
export async function watchEndpointsFile(
  file: string,
  apply: (endpoints: readonly Endpoint[]) => void,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let wake: () => void = () => undefined;
  // The folder is watched, not the file: editors and mounted ConfigMaps replace the file.
  const watcher = watchFolder(dirname(file), basename(file), () => wake(), log);
  let last = await readText(file).catch(() => "");
  try {
    while (!signal.aborted) {
      const woken = new AbortController();
      wake = () => woken.abort();
      await sleep(POLL_MS, AbortSignal.any([signal, woken.signal]));
      if (woken.signal.aborted) await sleep(SETTLE_MS, signal);
      if (signal.aborted) return;
      last = await reread(file, last, apply, log);
    }
  } finally {
    watcher?.close();
  }
}

async function reread(file: string, last: string, apply: (endpoints: readonly Endpoint[]) => void, log: Logger): Promise<string> {
  let text = "";
  try {
    text = await readText(file);
    if (text === last) return last;
    const endpoints = parseEndpoints(text, file);
    apply(endpoints);
    log.info({ file, engines: endpoints.length }, "read the endpoints again");
  } catch (error) {
    // A file that stays away or broken is told once.
    if (text !== last)
      log.error({ file, problem: (error as Error).message }, "the endpoints file cannot be used: the one before stays in force");
  }
  return text;
}

function watchFolder(folder: string, name: string, onChange: () => void, log: Logger): ReturnType<typeof watch> | undefined {
  try {
    // A ConfigMap's files are links to a folder that is exchanged, so any change in the folder counts where the name is not told.
    const watcher = watch(folder, (_event, changed) => {
      if (changed === null || changed === name || changed.startsWith("..")) onChange();
    });
    watcher.on("error", (error) => log.warn({ err: error, folder }, "watching the endpoints file failed: it is read every 2 seconds"));
    return watcher;
  } catch (error) {
    log.warn({ err: error, folder }, "the endpoints file cannot be watched: it is read every 2 seconds");
    return undefined;
  }
}

import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Address, endpointsFile } from "@aibrix/devcluster";
import { type EndpointSlice, Reflector, type ReflectorOptions } from "@aibrix/kube";
import { engineAddresses } from "./addresses.ts";

export interface FollowDeps {
  /** Which slices. */
  readonly slices: ReflectorOptions<EndpointSlice>;
  /** The file that Envoy watches. */
  readonly file: string;
  /** Called after each write, with what the file holds now. */
  readonly onWritten: (addresses: readonly Address[]) => void;
}

/**
 * Keeps Envoy's endpoints file equal to EndpointSlices, until the signal aborts. A file that is there already stays in force until the first
 * list: it is better than none, for Envoy may be serving by it.
 */
export async function followSlices({ slices, file, onWritten }: FollowDeps, signal: AbortSignal): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  // Envoy does not start without the file.
  if (!existsSync(file)) await replaceFile(file, textOf([]));
  const reflector = new Reflector(slices);
  let changed = Promise.withResolvers<void>();
  reflector.store.onChange(() => changed.resolve());
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  const running = reflector.run(signal);
  // What rejects here is the signal.
  await reflector.synced(signal).catch(() => undefined);
  let written: string | undefined;
  while (!signal.aborted) {
    changed = Promise.withResolvers<void>();
    const addresses = engineAddresses(reflector.store.values());
    const text = textOf(addresses);
    if (text !== written) {
      await replaceFile(file, text);
      written = text;
      onWritten(addresses);
    }
    await Promise.race([changed.promise, stopped.promise]);
  }
  await running;
}

function textOf(addresses: readonly Address[]): string {
  return `${JSON.stringify(endpointsFile(addresses), null, 2)}\n`;
}

/** Envoy sees the old file or the new one, never a part: it reads again when a file is moved into the folder. */
async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.new`);
  await writeFile(temporary, text);
  await rename(temporary, file);
}

import type { AdapterStatus } from "@aibrix/api";
import { vi } from "vitest";
import type { Stack } from "./stack.ts";

const STATE_MS = 60_000;

/** Waits until an adapter is in a state, as the runtime of an engine (the first one by default) tells. */
export async function adapterState(stack: Stack, name: string, wanted: (a: AdapterStatus) => boolean, engine = 0): Promise<AdapterStatus> {
  return vi.waitFor(
    async () => {
      const { adapters, manifest_problems: problems } = await stack.snapshot(engine);
      const found = adapters.find((a) => a.lora_name === name);
      if (found === undefined || !wanted(found)) throw new Error(`${name} is ${JSON.stringify(found ?? problems)}`);
      return found;
    },
    { timeout: STATE_MS, interval: 50 },
  );
}

/** Waits until the runtime tells of a problem with a file, and gives its sentence. */
export async function manifestProblem(stack: Stack, file: string): Promise<string> {
  return vi.waitFor(
    async () => {
      const { manifest_problems: problems } = await stack.snapshot();
      const found = problems.find((p) => p.file.endsWith(file));
      if (found === undefined) throw new Error(`no problem with ${file} among ${JSON.stringify(problems)}`);
      return found.message;
    },
    { timeout: STATE_MS, interval: 50 },
  );
}

import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter, writeBaseModel, writeBrokenAdapter } from "@aibrix/devcluster";

/** Broken adapters that cases use, as the generator of fixtures calls them. */
const BROKEN = ["truncated", "empty", "rank16", "wrong-base", "lm-head", "only-bin", "broken-config", "no-config"] as const;
/** Good adapters; each answers in its own voice. */
const GOOD = ["sql", "chat", "code", "four", "five", "six"] as const;

/** Files and a hub for the cases of one run. */
export interface World {
  readonly folder: string;
  readonly model: string;
  readonly hub: Hub;
  /** Directory of an adapter. */
  path(name: (typeof GOOD)[number] | (typeof BROKEN)[number]): string;
  /** A new directory with the files of an adapter. */
  copy(name: (typeof GOOD)[number]): Promise<string>;
  /** Puts other weights into a directory, the way a careful writer does. */
  overwrite(directory: string, name: (typeof GOOD)[number]): Promise<void>;
  /** Takes a copy away. */
  remove(directory: string): Promise<void>;
  close(): Promise<void>;
}

const WEIGHTS = "adapter_model.safetensors";

/** Writes a base model and adapters, good and broken, and starts a hub that offers `acme/sql`. */
export async function createWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "mock-engine-contract-"));
  const path = (name: string): string => join(folder, "adapters", name);
  await writeBaseModel(join(folder, "base"));
  for (const [i, name] of GOOD.entries()) await writeAdapter(path(name), { seed: i + 1 });
  for (const name of BROKEN) await writeBrokenAdapter(path(name), name);
  await cp(path("sql"), join(folder, "hub", "acme", "sql"), { recursive: true });
  const hub = await startHub({ root: join(folder, "hub") });
  let copies = 0;
  return {
    folder,
    model: join(folder, "base"),
    hub,
    path,
    copy: async (name) => {
      const directory = join(folder, "copies", `${name}-${copies++}`);
      await cp(path(name), directory, { recursive: true });
      return directory;
    },
    overwrite: async (directory, name) => {
      const partial = join(directory, `${WEIGHTS}.part`);
      await cp(join(path(name), WEIGHTS), partial);
      await rename(partial, join(directory, WEIGHTS));
    },
    remove: (directory) => rm(directory, { recursive: true }),
    close: async () => {
      await hub.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

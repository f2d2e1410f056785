import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DEFAULTS } from "./flags.ts";
import type { Programs, StackPaths } from "./plan.ts";
import type { StateDir } from "./state-dir.ts";

/** The workspace that this program was built in. */
export const WORKSPACE: string = fileURLToPath(new URL("../../../../", import.meta.url)).replace(/\/$/, "");

/** The state folder that needs no flag. */
export const DEFAULT_DIR: string = join(WORKSPACE, DEFAULTS.dir);

/** This package's command. */
export const MAIN: string = join(WORKSPACE, "packages/devcluster/dist/main.js");

/** The project's own programs, by the public commands of their packages. */
export function ownPrograms(): Pick<Programs, "node" | "hub" | "mockEngine" | "runtime" | "gateway"> {
  const main = (name: string) => join(WORKSPACE, "packages", name, "dist/main.js");
  return {
    node: process.execPath,
    hub: join(WORKSPACE, "packages/devcluster/dist/hub/main.js"),
    mockEngine: main("mock-engine"),
    runtime: main("runtime"),
    gateway: main("gateway"),
  };
}

export function stackPaths(dir: StateDir, baseModelDir: string): StackPaths {
  return {
    hubRoot: hubRoot(dir),
    baseModelDir,
    s3Data: join(dir.data, "s3"),
    s3Iam: join(dir.data, "s3-iam"),
    artifacts: join(dir.data, "artifacts"),
    engineCaches: join(dir.data, "engines"),
    endpointsConfig: join(dir.config, "endpoints.yaml"),
    envoyConfig: join(dir.config, "envoy.json"),
  };
}

/** Folder of the local Hub: one folder per repository, `org/name`. */
export function hubRoot(dir: StateDir): string {
  return join(dir.data, "hub");
}

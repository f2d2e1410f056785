import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { cli, ENGINE } from "./cli.ts";
import { carriers } from "./processes.ts";

/** A first start builds what cannot be fetched. */
const START_MS = 3_600_000;
const STOP_MS = 300_000;

/**
 * Starts the cluster that all stories of it share, as a user does, and stops it at the end. `AIBRIX_E2E_STACK` names the state folder of one
 * that runs already and is left running, which is quicker while a story is being written.
 */
export async function setup({ provide }: TestProject): Promise<(() => Promise<void>) | undefined> {
  const running = process.env.AIBRIX_E2E_STACK;
  if (running !== undefined && running !== "") {
    provide("stackFile", join(running, "stack.json"));
    return undefined;
  }
  const dir = mkdtempSync(join(tmpdir(), "aibrix-e2e-"));
  const startedMs = performance.now();
  const { code, output } = await cli(["start", "--detach", "--dir", dir, ...clusterFlags(), `--engine=${ENGINE}`], START_MS);
  if (code !== 0) {
    await cli(["stop", "--dir", dir], STOP_MS);
    throw new Error(`the cluster did not start (state and logs: ${dir}):\n${output}`);
  }
  console.log(`${output}\nthe platform was ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  provide("stackFile", join(dir, "stack.json"));
  return async () => {
    const stopped = await cli(["stop", "--dir", dir], STOP_MS);
    if (stopped.code !== 0) throw new Error(`stop failed (state and logs: ${dir}):\n${stopped.output}`);
    const left = process.platform === "linux" ? carriers("AIBRIX_STACK_DIR", dir) : [];
    if (left.length > 0) throw new Error(`stop left the processes ${left.join(", ")}`);
    rmSync(dir, { recursive: true, force: true });
  };
}

function clusterFlags(): readonly string[] {
  const { AIBRIX_E2E_CLUSTER: cluster, AIBRIX_E2E_KUBECONFIG: kubeconfig } = process.env;
  if (kubeconfig !== undefined && kubeconfig !== "") return ["--kubernetes", `--kubeconfig=${kubeconfig}`];
  return cluster === undefined || cluster === "" ? ["--kubernetes"] : ["--kubernetes", `--cluster=${cluster}`];
}

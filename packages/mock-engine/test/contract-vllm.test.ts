import { ensureVllm } from "@aibrix/devcluster";
import { describe } from "vitest";
import { engineContract } from "./contract.ts";
import { vllmTarget } from "./target-vllm.ts";

/** The e2e run has fetched it before; this only finds it. */
const FIND_MS = 60_000;

async function bin(): Promise<string> {
  return (await ensureVllm({ log: (line) => void process.stderr.write(`${line}\n`), signal: AbortSignal.timeout(FIND_MS) })).bin;
}

// Each server takes half a minute of two cores to start, so a real vLLM is asked for (npm run e2e -- --engine vllm), never found by itself.
describe.runIf(process.env.AIBRIX_E2E_ENGINE === "vllm")("a real vLLM", () => {
  engineContract(vllmTarget(bin));
});

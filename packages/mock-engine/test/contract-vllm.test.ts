import { describe } from "vitest";
import { engineContract } from "./contract.ts";
import { vllmTarget } from "./target-vllm.ts";

const bin = process.env.AIBRIX_VLLM_BIN;

// Each server takes half a minute of two cores to start, so a real vLLM is asked for, never found by itself.
describe.runIf(bin !== undefined && bin !== "")("a real vLLM", () => {
  engineContract(vllmTarget(bin ?? ""));
});

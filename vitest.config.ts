import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// Workspace packages resolve to their sources, so a test never runs against a stale build.
const resolve = { conditions: ["@aibrix/source"] };
// Not "module": Node cannot load what the AWS SDK keeps for bundlers under it.
/** Takes a real vLLM, so it runs with the stories. */
const VLLM_CONTRACT = "packages/mock-engine/test/contract-vllm.test.ts";
/** Files that take longest, longest first: started last, one of them would run alone while the other workers have nothing to do. */
const LONGEST = [
  "packages/controller/test/crash.test.ts",
  "packages/controller/test/resilience.test.ts",
  "packages/gateway/test/load.test.ts",
  "packages/controller/test/converges.test.ts",
  "packages/runtime/test/crash.test.ts",
  "packages/runtime/test/transfer.test.ts",
  "packages/controller/test/direct.test.ts",
  "packages/devcluster/test/existing-cluster.test.ts",
  "e2e/stories/real-vllm-many.test.ts",
  VLLM_CONTRACT,
  "e2e/stories/engine-kills.test.ts",
  "e2e/stories/update-vllm.test.ts",
  "e2e/stories/update.test.ts",
  "e2e/stories/real-vllm.test.ts",
  "e2e/stories/update-many.test.ts",
  "e2e/stories/update-bad.test.ts",
].map((name) => join(import.meta.dirname, name));
for (const file of LONGEST) if (!existsSync(file)) throw new Error(`${file} is in LONGEST of vitest.config.ts and is not there`);

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => (LONGEST.includes(moduleId) ? LONGEST.indexOf(moduleId) : LONGEST.length);
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/** A failed comparison tells both texts whole: the log of a run elsewhere is all there is of it. */
const chaiConfig = { truncateThreshold: 0 };

const ssr = { resolve: { conditions: ["@aibrix/source", "node", "import", "default"] } };

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      { resolve, ssr, test: { name: "unit", chaiConfig, include: ["packages/*/{src,bench}/**/*.test.ts"], testTimeout: 60_000 } },
      {
        resolve,
        ssr,
        // Real Envoy, S3 and Hub: each file starts its own parts on free ports, and mostly waits for them; two cores cannot start many at once.
        test: {
          name: "component",
          chaiConfig,
          include: ["packages/*/test/**/*.test.ts"],
          exclude: [VLLM_CONTRACT],
          globalSetup: ["vitest.programs.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
        },
      },
      {
        resolve,
        ssr,
        // Each story has stacks of its own on free ports, and waits for most of its time; a vLLM starts on one core.
        test: {
          name: "e2e",
          chaiConfig,
          include: ["e2e/stories/**/*.test.ts", VLLM_CONTRACT],
          testTimeout: 180_000,
          hookTimeout: 900_000,
          maxWorkers: 2,
        },
      },
      {
        resolve,
        ssr,
        // The stories of a cluster share one, which takes a while to start; each takes away what it applied.
        test: {
          name: "e2e-cluster",
          chaiConfig,
          include: ["e2e/cluster/**/*.test.ts"],
          globalSetup: ["e2e/support/cluster-setup.ts"],
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
});

import { defineConfig } from "vitest/config";

// Workspace packages resolve to their sources, so a test never runs against a stale build.
const resolve = { conditions: ["@aibrix/source"] };
// Not "module": Node cannot load what the AWS SDK keeps for bundlers under it.
/** Takes a real vLLM, so it runs with the stories. */
const VLLM_CONTRACT = "packages/mock-engine/test/contract-vllm.test.ts";
const ssr = { resolve: { conditions: ["@aibrix/source", "node", "import", "default"] } };

export default defineConfig({
  test: {
    projects: [
      { resolve, ssr, test: { name: "unit", include: ["packages/*/{src,bench}/**/*.test.ts"], testTimeout: 60_000 } },
      {
        resolve,
        ssr,
        // Real Envoy, S3 and Hub: each file starts its own parts on free ports, and mostly waits for them; two cores cannot start many at once.
        test: {
          name: "component",
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
        test: {
          name: "e2e",
          include: ["e2e/stories/**/*.test.ts", VLLM_CONTRACT],
          testTimeout: 180_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
      {
        resolve,
        ssr,
        // The stories of a cluster share one, which takes a while to start; each takes away what it applied.
        test: {
          name: "e2e-cluster",
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

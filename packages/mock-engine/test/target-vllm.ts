import { type ContractTarget, freePort, launch } from "./target.ts";

/**
 * A real vLLM on CPU.
 * @param bin finds its `vllm` program
 */
export function vllmTarget(bin: () => Promise<string>): ContractTarget {
  return {
    name: "vllm",
    start: async ({ model, args, env, cwd }) => {
      const port = await freePort();
      const small = ["--enforce-eager", "--dtype", "float32", "--kv-cache-memory-bytes", "4194304"];
      return await launch({
        command: await bin(),
        args: ["serve", model, "--host", "127.0.0.1", "--port", String(port), ...small, ...args],
        env: {
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          VLLM_TARGET_DEVICE: "cpu",
          VLLM_NO_USAGE_STATS: "1",
          DO_NOT_TRACK: "1",
          OMP_NUM_THREADS: "1",
          VLLM_CPU_OMP_THREADS_BIND: "nobind",
          ...env,
        },
        cwd,
        port,
        readyTimeoutMs: 600_000,
        stopTimeoutMs: 30_000,
      });
    },
    voice: (text) => text,
  };
}

import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import { authCases } from "./contract/auth.ts";
import { loadingCases } from "./contract/loading.ts";
import { deathCases, memoryCases, swapDeathCases } from "./contract/memory.ts";
import { BASE, MAX_LORA_RANK, MAX_MODEL_LEN, type Suite } from "./contract/setup.ts";
import { ALIASES, noLoraCases, poolingCases, staticCases } from "./contract/static.ts";
import { streamCases } from "./contract/streams.ts";
import { surfaceCases } from "./contract/surface.ts";
import { Client } from "./http.ts";
import type { ContractTarget, EngineProcess } from "./target.ts";
import { createWorld, type World } from "./world.ts";

const KEY = "sk-contract";

interface Server {
  readonly args: (world: World) => readonly string[];
  readonly env: (world: World) => Readonly<Record<string, string>>;
  readonly key?: string;
  readonly paceMs?: number;
}

const PACE_MS = 6;

const COMMON = ["--max-model-len", String(MAX_MODEL_LEN), "--max-num-seqs", "8"];
const LORA = ["--enable-lora", "--max-lora-rank", String(MAX_LORA_RANK)];

/** Few servers serve all cases: a real one takes half a minute to start. */
const SERVERS = {
  dynamic: {
    args: () => [...COMMON, ...LORA, "--served-model-name", BASE, "--max-loras", "2", "--max-cpu-loras", "3"],
    env: (world) => ({
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
      VLLM_API_KEY: KEY,
      HF_ENDPOINT: world.hub.url,
      HF_HOME: join(world.folder, "hf"),
    }),
    key: KEY,
  },
  static: {
    args: (world) => {
      const second = JSON.stringify({ name: "second", path: world.path("chat"), base_model_name: "alias" });
      return [...COMMON, ...LORA, "--served-model-name", ...ALIASES, "--lora-modules", `first=${world.path("sql")}`, second];
    },
    env: () => ({ HF_HUB_OFFLINE: "1" }),
  },
  pooling: {
    args: () => [...COMMON, ...LORA, "--served-model-name", BASE, "--runner", "pooling"],
    env: () => ({ VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1", HF_HUB_OFFLINE: "1" }),
  },
  plain: {
    args: () => [...COMMON, "--served-model-name", BASE],
    env: () => ({ VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1", HF_HUB_OFFLINE: "1" }),
  },
} satisfies Record<string, Server>;

/** Declares the cases that any engine with vLLM's HTTP surface must pass, run against this one. */
export function engineContract(target: ContractTarget): void {
  describe(`engine contract: ${target.name}`, () => {
    let world: World | undefined;
    beforeAll(async () => {
      world = await createWorld();
    });
    afterAll(async () => {
      await world?.close();
    });

    const withServer = (name: string, server: Server, cases: readonly ((suite: Suite) => void)[]): void => {
      describe(name, () => {
        let engine: EngineProcess | undefined;
        beforeAll(async () => {
          if (world === undefined) throw new Error("the fixtures are missing");
          engine = await target.start({
            model: world.model,
            args: server.args(world),
            env: server.env(world),
            cwd: world.folder,
            paceMs: server.paceMs ?? PACE_MS,
          });
        });
        afterAll(async () => {
          await engine?.stop();
        });
        const need = <T>(value: T | undefined): T => {
          if (value === undefined) throw new Error("the engine did not start");
          return value;
        };
        const suite: Suite = {
          target,
          get world() {
            return need(world);
          },
          get engine() {
            return need(engine);
          },
          get client() {
            return new Client(need(engine).url, server.key);
          },
        };
        for (const declare of cases) declare(suite);
      });
    };

    withServer("adapters by request", SERVERS.dynamic, [surfaceCases, authCases, loadingCases, streamCases, memoryCases, deathCases]);
    // Slow, because all must happen under one stream; it does not last to its end.
    withServer("adapters swapped by request", { ...SERVERS.dynamic, paceMs: 30 }, [swapDeathCases]);
    withServer("static adapters", SERVERS.static, [staticCases]);
    withServer("a model that embeds", SERVERS.pooling, [poolingCases]);
    withServer("no adapters", SERVERS.plain, [noLoraCases]);
  });
}

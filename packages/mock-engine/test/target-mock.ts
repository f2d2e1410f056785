import { fileURLToPath } from "node:url";
import { parseAnswer } from "../src/index.ts";
import { type ContractTarget, freePort, launch } from "./target.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

/** This package's own program, run from its sources. It keeps the pace that it is told. */
export const mockTarget: ContractTarget = {
  name: "mock",
  start: async ({ model, args, env, cwd, paceMs }) => {
    const port = await freePort();
    const flags = [
      "--model",
      model,
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
      "--mock-token-delay-ms",
      String(paceMs),
      "--dtype",
      "float32",
      "--enforce-eager",
    ];
    return await launch({
      command: process.execPath,
      args: ["--disable-warning=ExperimentalWarning", MAIN, ...flags, ...args],
      env: { PATH: process.env.PATH, ...env },
      cwd,
      port,
      readyTimeoutMs: 20_000,
      stopTimeoutMs: 10_000,
    });
  },
  voice: (text) => parseAnswer(text)?.digest ?? text,
};

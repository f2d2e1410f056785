import { readFile } from "node:fs/promises";
import { deadline, sleep } from "@aibrix/service";
import { Value } from "typebox/value";
import { Agent, request } from "undici";
import type { EngineState } from "../routing/types.ts";
import { nowSec, resolveAddress, type SourceDeps } from "./source.ts";
import { ModelListSchema, stateOfList } from "./states.ts";

/** After so many lists in a row that failed, the engine counts as not ready. One can fail while an engine is busy. */
const FAILURES = 3;

/** Reads an engine's `GET /v1/models` again and again until the signal aborts. */
export async function listEngine(deps: SourceDeps, signal: AbortSignal): Promise<void> {
  const { endpoint, sink, log, timings } = deps;
  const agent = new Agent({ connect: { timeout: timings.callTimeoutMs } });
  let failures = 0;
  let lastProblem: string | undefined;
  try {
    while (!signal.aborted) {
      try {
        sink.update(endpoint.engine, { type: "state", state: await listOnce(agent, deps, signal) });
        if (lastProblem !== undefined) log.info({ engine: endpoint.engine }, "an engine answers again");
        failures = 0;
        lastProblem = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const problem = (error as Error).message || String((error as NodeJS.ErrnoException).code);
        if (problem !== lastProblem) log.warn({ engine: endpoint.engine, problem }, "an engine's models cannot be listed: trying again");
        lastProblem = problem;
        failures += 1;
        if (failures === FAILURES) sink.update(endpoint.engine, { type: "notReady", why: "its engine does not answer" });
      }
      deps.onTried();
      await sleep(timings.listPeriodMs, signal);
    }
  } finally {
    await agent.destroy();
  }
}

async function listOnce(agent: Agent, { endpoint, timings }: SourceDeps, signal: AbortSignal): Promise<EngineState> {
  const bounded = deadline(timings.callTimeoutMs, signal);
  const address = await resolveAddress(endpoint.host, endpoint.port);
  const key = endpoint.apiKeyFile === undefined ? undefined : await readKey(endpoint.apiKeyFile);
  const { statusCode, body } = await request(`${endpoint.engine}/v1/models`, {
    dispatcher: agent,
    signal: bounded,
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  });
  if (statusCode !== 200) {
    await body.dump({ limit: 65_536, signal: bounded }).catch(() => undefined);
    if (statusCode === 401 && endpoint.apiKeyFile === undefined) {
      // It answers, and clients bring the key: what the file says that it serves can be used.
      if (endpoint.models.length > 0) return stateOfList({ data: [] }, address, endpoint.models, nowSec());
      throw new Error("it wants an API key: set apiKeyFile, or list its models, in the endpoints file");
    }
    throw new Error(statusCode === 401 ? "it refused the key of apiKeyFile" : `it answered ${statusCode} to GET /v1/models`);
  }
  const list: unknown = await body.json();
  if (!Value.Check(ModelListSchema, list)) throw new Error("its GET /v1/models is not of the form {data: [{id}]}");
  return stateOfList(list, address, endpoint.models, nowSec());
}

async function readKey(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new Error(`apiKeyFile ${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

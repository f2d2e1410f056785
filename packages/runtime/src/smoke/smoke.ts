import { isSmokeName, type SmokeCheck, smokeName } from "@aibrix/api";
import { type Logger, sleep } from "@aibrix/service";
import pLimit, { type LimitFunction } from "p-limit";
import type { Declaration } from "../adapters/declaration.ts";
import type { Memory } from "../adapters/memory.ts";
import type { Content } from "../artifact/artifacts.ts";
import type { Engine } from "../engine/engine.ts";
import type { KeyRing } from "../engine/key-ring.ts";
import type { EngineObserver } from "../engine/observer.ts";
import { AdapterError, isTimeout, messageOf } from "../errors.ts";
import { judge, type SmokeAnswer, smokeTitle } from "./judge.ts";
import { smokeRequest } from "./request.ts";

/** How long it is tried to take checked content away, how long each try may take, and how long the pause after it is; in milliseconds. */
const [AWAY_WITHIN_MS, UNLOAD_MS, PAUSE_MS] = [30_000, 5_000, 500];

export interface SmokeDeps {
  readonly engine: Pick<Engine, "load" | "unload" | "ask">;
  readonly observer: Pick<EngineObserver, "view" | "bootId" | "refresh">;
  readonly memory: Pick<Memory, "addReadable">;
  readonly keys: Pick<KeyRing, "mounted" | "good">;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
}

/** The engine ended while it was asked: nobody knows whether on account of the content. */
export class EngineEnded extends AdapterError {}

/**
 * Has content answer prompts in the engine, under a name of its own that is taken away afterwards. What serves goes on meanwhile: to load and unload
 * other names does it no harm. One content at a time, so that no more than one slot is taken.
 *
 * Nobody but us gives such names: one that an engine lists and that nobody checks is left from a program that was ended in the middle of it, or
 * from a load that went on after it seemed to have failed. {@link sweep} takes it away.
 */
export class Smoke {
  readonly #deps: SmokeDeps;
  readonly #engineCalls: LimitFunction;
  readonly #one = pLimit(1);
  /** Names under which content is being checked, or that are being taken away. */
  readonly #busy = new Set<string>();

  /** @param engineCalls - loads and unloads take their turn there */
  constructor(deps: SmokeDeps, engineCalls: LimitFunction) {
    this.#deps = deps;
    this.#engineCalls = engineCalls;
  }

  /** Takes what the engine has under such names, and nobody checks, away. Never throws. */
  async sweep(models: Iterable<string>, closed: AbortSignal): Promise<void> {
    const left = [...models].filter((id) => isSmokeName(id) && !this.#busy.has(id));
    await Promise.all(left.map((name) => this.#takeAway(name, undefined, closed)));
  }

  /**
   * Returns once every check has passed, or `wanted` aborts.
   *
   * @param wanted - aborts when nobody wants the content any more
   * @param closed - aborts when the program ends
   * @throws AdapterError `CheckFailed` for an answer that is not as expected, what the engine says to a load that it refuses, {@link EngineEnded}
   */
  async run(
    declaration: Declaration,
    content: Content,
    checks: readonly SmokeCheck[],
    wanted: AbortSignal,
    closed: AbortSignal,
  ): Promise<void> {
    await this.#one(async () => {
      if (wanted.aborted) return;
      const { memory, observer, random } = this.#deps;
      const name = smokeName(declaration.name, content.digest, random());
      const { bootId } = observer.view;
      this.#busy.add(name);
      // Its files stay as long as the engine may read them.
      await memory.addReadable(declaration.name, content.digest, observer.bootId);
      try {
        await this.#ask(name, declaration, content, checks, wanted, closed);
      } catch (error) {
        if (wanted.aborted) return;
        const view = await observer.refresh(wanted);
        if (view.ready && view.bootId === bootId) throw error;
        throw new EngineEnded("EngineUnavailable", `the engine ended while new content was checked (${messageOf(error)})`);
      } finally {
        await this.#takeAway(name, declaration.apiKey, closed);
      }
    });
  }

  async #ask(
    name: string,
    declaration: Declaration,
    { path, digest }: Content,
    checks: readonly SmokeCheck[],
    wanted: AbortSignal,
    closed: AbortSignal,
  ): Promise<void> {
    const { engine, keys, log } = this.#deps;
    const apiKey = declaration.apiKey ?? keys.mounted;
    // Not given up in the middle: an engine would go on with it, and have the name after it was unloaded.
    await this.#engineCalls(() => engine.load({ name, path, apiKey }, closed));
    for (const [i, check] of checks.entries()) {
      const answer = await this.#answer(name, check, apiKey, wanted);
      const wrong = judge(check, i + 1, answer);
      if (wrong !== undefined) throw new AdapterError("CheckFailed", wrong);
      log.info({ adapter: declaration.name, digest, check: smokeTitle(check, i + 1) }, "new content passed a check");
    }
  }

  async #answer(name: string, check: SmokeCheck, apiKey: string | undefined, wanted: AbortSignal): Promise<SmokeAnswer> {
    const { engine, now } = this.#deps;
    const startedMs = now();
    try {
      const answer = await engine.ask({ ...smokeRequest(name, check), apiKey, timeoutMs: check.expect.max_latency_ms }, wanted);
      return { ...answer, latencyMs: now() - startedMs };
    } catch (error) {
      if (wanted.aborted || !isTimeout(error)) throw error;
      return "timeout";
    }
  }

  /** Never throws: what cannot be taken away in time is left to a later {@link sweep}, of which there is one every few seconds. */
  async #takeAway(name: string, apiKey: string | undefined, closed: AbortSignal): Promise<void> {
    const { engine, keys, log, now } = this.#deps;
    const untilMs = now() + AWAY_WITHIN_MS;
    this.#busy.add(name);
    do {
      try {
        const call = { name, apiKey: keys.good ?? apiKey };
        await this.#engineCalls(() => engine.unload(call, AbortSignal.timeout(UNLOAD_MS)));
        break;
      } catch (error) {
        log.warn({ name, error: messageOf(error) }, "content that was checked is not unloaded yet: it is tried again");
      }
    } while ((await sleep(PAUSE_MS, closed)) && now() < untilMs);
    this.#busy.delete(name);
  }
}

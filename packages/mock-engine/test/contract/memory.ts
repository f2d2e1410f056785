import { describe, expect, test } from "vitest";
import { EventStream } from "../http.ts";
import { BASE, expectError, metricsPage, promptOver, type Suite, series, until } from "./setup.ts";

const DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause.";

/** The labels of `vllm:lora_requests_info` with the newest time. */
function newestLabels(page: string): string {
  const newestFirst = [...series(page, "vllm:lora_requests_info")].sort(([, a], [, b]) => b - a);
  return newestFirst[0]?.[0] ?? "";
}

/** What a page says about who runs and who waits. */
function load(page: string): { readonly running: number; readonly waiting: number; readonly deferred: number } {
  const sum = (name: string, label = ""): number =>
    [...series(page, name)].filter(([labels]) => labels.includes(label)).reduce((total, [, value]) => total + value, 0);
  return {
    running: sum("vllm:num_requests_running"),
    waiting: sum("vllm:num_requests_waiting"),
    deferred: sum("vllm:num_requests_waiting_by_reason", 'reason="deferred"'),
  };
}

/** Cases about what is in memory and who runs. The engine has --max-loras 2 --max-cpu-loras 3. */
export function memoryCases(s: Suite): void {
  describe("memory", () => {
    test("more adapters than fit are loaded, evicted without a word and read again when they are asked for", async () => {
      const names = ["sql", "chat", "code", "four", "five", "six"] as const;
      for (const name of names) await s.client.mustLoad(`m-${name}`, s.world.path(name));
      const texts: string[] = [];
      for (const name of names) texts.push(s.target.voice(await s.client.text(`m-${name}`)));
      expect(new Set(texts).size).toBe(names.length);
      await s.client.mustUnload(...names.map((name) => `m-${name}`));
    });

    test("what is in memory does not notice a changed file, what was evicted does", async () => {
      const directory = await s.world.copy("sql");
      await s.client.mustLoad("changed", directory);
      const before = s.target.voice(await s.client.text("changed"));
      await s.world.overwrite(directory, "chat");
      expect(s.target.voice(await s.client.text("changed"))).toBe(before);
      const others = ["code", "four", "five"] as const;
      for (const name of others) await s.client.mustLoad(`o-${name}`, s.world.path(name));
      for (const name of others) await s.client.text(`o-${name}`);
      await s.client.mustLoad("chat", s.world.path("chat"));
      expect(s.target.voice(await s.client.text("changed"))).toBe(s.target.voice(await s.client.text("chat")));
      await s.client.mustUnload("changed", "chat", ...others.map((name) => `o-${name}`));
    });

    test("other weights under the same name and path answer wrongly where a prompt is reused", async () => {
      const prompt = await promptOver(s.client, 140);
      const directory = await s.world.copy("sql");
      const voice = async (name: string) => s.target.voice(await s.client.text(name, { prompt, maxTokens: 12 }));
      await s.client.mustLoad("mut", directory);
      const old = await voice("mut");
      await s.client.mustUnload("mut");
      await s.world.overwrite(directory, "chat");
      await s.client.mustLoad("mut", directory);
      const mixed = await voice("mut");
      await s.client.mustLoad("fresh", s.world.path("chat"));
      const fresh = await voice("fresh");
      expect([old, fresh]).not.toContain(mixed);
      await s.client.mustUnload("mut", "fresh");
    });
  });

  describe("slots", () => {
    test("requests of more adapters than slots wait, and the metrics say why", async () => {
      const names = ["sql", "chat", "code"] as const;
      for (const name of names) await s.client.mustLoad(`s-${name}`, s.world.path(name));
      const stream = async (model: string): Promise<EventStream> => {
        const json = { model, prompt: "hello", max_tokens: 240, temperature: 0, stream: true };
        return await new EventStream(await s.client.open("/v1/completions", { json })).begin();
      };
      const running = [await stream("s-sql"), await stream("s-chat")];
      const third = s.client.text("s-code", { maxTokens: 2 });
      const page = await until(
        () => metricsPage(s.client),
        (text) => load(text).deferred === 1,
        "a deferred request",
      );
      expect(load(page)).toEqual({ running: 2, waiting: 1, deferred: 1 });
      expect(newestLabels(page)).toBe('{max_lora="2",running_lora_adapters="s-sql,s-chat",waiting_lora_adapters="s-sql,s-chat"}');
      for (const each of running) expect((await each.end()).at(-1)).toBe("[DONE]");
      await third;
      const idle = await until(
        () => metricsPage(s.client),
        (text) => load(text).running === 0,
        "an idle engine",
      );
      expect(newestLabels(idle)).toBe('{max_lora="2",running_lora_adapters="",waiting_lora_adapters=""}');
      await s.client.mustUnload(...names.map((name) => `s-${name}`));
    });
  });
}

/** The case after which the engine is gone. */
export function deathCases(s: Suite): void {
  describe("death", () => {
    test("a request for an evicted adapter whose files are gone ends the engine", async () => {
      const directory = await s.world.copy("sql");
      await s.client.mustLoad("gone", directory);
      await s.client.text("gone");
      await s.world.remove(directory);
      await s.client.text("gone");
      for (const name of ["chat", "code", "four"] as const) {
        await s.client.mustLoad(`d-${name}`, s.world.path(name));
        await s.client.text(`d-${name}`);
      }
      const answer = await s.client.call("/v1/completions", { json: { model: "gone", prompt: "hello", max_tokens: 2 } });
      expectError(answer, 500, "InternalServerError", DEAD);
      const health = await s.client.call("/health").then(
        ({ status }) => status,
        () => "refused",
      );
      expect([503, "refused"]).toContain(health);
      expect(await s.engine.ended).toBe(0);
      await expect(s.client.call("/health")).rejects.toThrow();
    });
  });
}

/** Another case after which the engine is gone, on an engine with --max-loras 2. */
export function swapDeathCases(s: Suite): void {
  describe("death", () => {
    test("a second content of a running name that loses its slot to another load ends the engine", async () => {
      await s.client.mustLoad("swapped", s.world.path("sql"));
      const json = { model: "swapped", prompt: "hello", max_tokens: 240, temperature: 0, stream: true };
      const stream = await new EventStream(await s.client.open("/v1/completions", { json })).begin();
      await s.client.mustUnload("swapped");
      await s.client.mustLoad("swapped", s.world.path("chat"));
      // Its answer needs steps of the engine, in which the running content is touched.
      await s.client.text(BASE);
      await s.client.mustLoad("other", s.world.path("code"));
      const answer = await s.client.call("/v1/completions", { json: { model: "swapped", prompt: "hello", max_tokens: 2 } });
      expectError(answer, 500, "InternalServerError", DEAD);
      const events = await stream.end();
      expect(JSON.parse(events.at(-2) ?? "")).toEqual({ error: { message: DEAD, type: "InternalServerError", param: null, code: 500 } });
      expect(events.at(-1)).toBe("[DONE]");
      expect(await s.engine.ended).toBe(0);
    });
  });
}

import { describe, expect, test } from "vitest";
import { EventStream } from "../http.ts";
import { modelsShape, shapeOf } from "../shapes.ts";
import { BASE, expectAnswer, expectError, JSON_TYPE, metricsPage, type Suite, series } from "./setup.ts";

/** Names of the base model of the second engine. */
export const ALIASES = ["tiny", "alias"] as const;

/** Cases of an engine without a key, with static adapters, two names and no runtime updating. */
export function staticCases(s: Suite): void {
  describe("static adapters", () => {
    test("are there from the start, after all names of the base model", async () => {
      const answer = await s.client.call("/v1/models");
      expect(shapeOf(answer.text)).toBe(modelsShape(2, 2));
      expect(JSON.parse(answer.text)).toMatchObject({
        data: [
          { id: "tiny", root: s.world.model, parent: null },
          { id: "alias", root: s.world.model, parent: null },
          { id: "first", root: s.world.path("sql"), parent: "tiny" },
          { id: "second", root: s.world.path("chat"), parent: "alias" },
        ],
      });
      expect(s.target.voice(await s.client.text("first"))).not.toBe(s.target.voice(await s.client.text("second")));
    });

    test("every name of the base model answers, as the first one", async () => {
      for (const model of ALIASES) {
        const answer = await s.client.call("/v1/completions", { json: { model, prompt: "hello", max_tokens: 2 } });
        expect(JSON.parse(answer.text)).toMatchObject({ model: "tiny" });
      }
      const unknown = await s.client.call("/v1/completions", { json: { model: "nope", prompt: "hello" } });
      expectError(unknown, 404, "NotFoundError", "The model `nope` does not exist. Valid aliases: tiny, alias.", "model");
    });
  });

  describe("no runtime updating", () => {
    test.each([
      { path: "/v1/load_lora_adapter", method: "POST", json: { lora_name: "x", lora_path: "/nope" } },
      { path: "/v1/unload_lora_adapter", method: "POST", json: { lora_name: "first" } },
      { path: "/adapters", method: "POST", json: { name: "x", src: "/nope" } },
      { path: "/adapters/first", method: "DELETE", json: undefined },
      { path: "/v1/load_lora_adapter", method: "GET", json: undefined },
    ])("$method $path is not there", async ({ path, method, json }) => {
      expectAnswer(await s.client.call(path, { method, json }), 404, JSON_TYPE, '{"detail":"Not Found"}');
    });
  });

  describe("SIGTERM", () => {
    test("ends the process, at the latest once its streams are gone", async () => {
      const json = { model: "first", prompt: "hello", max_tokens: 240, stream: true };
      const stream = await new EventStream(await s.client.open("/v1/completions", { json })).begin();
      s.engine.signal("SIGTERM");
      // A stream may be left open for good (seen on vLLM 0.32.0); a client that goes away must be enough.
      await stream.cancel();
      expect(await s.engine.ended).toBe(0);
      await expect(s.client.call("/health")).rejects.toThrow();
    });
  });
}

/** Cases of an engine whose model embeds. */
export function poolingCases(s: Suite): void {
  describe("no text", () => {
    test("takes adapters, and has no route for a request of one token under their names", async () => {
      expect((await s.client.load("x", s.world.path("sql"))).status).toBe(200);
      expect((await s.client.call("/v1/models")).text).toContain(s.world.path("sql"));
      for (const model of ["x", BASE, "nope"]) {
        const answer = await s.client.call("/v1/completions", { json: { model, prompt: "hello", max_tokens: 1, temperature: 0 } });
        expectAnswer(answer, 404, JSON_TYPE, '{"detail":"Not Found"}');
      }
      expect((await s.client.unload("x")).status).toBe(200);
    });
  });
}

/** Cases of an engine that allows runtime updating but was started without --enable-lora. */
export function noLoraCases(s: Suite): void {
  describe("without --enable-lora", () => {
    test("a load fails, and the engine survives", async () => {
      const message =
        "Call to add_lora method failed: Worker failed with error 'LoRA is not enabled. Use --enable-lora to enable LoRA.', please check the stack trace above for the root cause";
      expectError(await s.client.load("x", s.world.path("sql")), 500, "InternalServerError", message);
      expect((await s.client.call("/health")).status).toBe(200);
      expectError(await s.client.unload("x"), 404, "NotFoundError", "The lora adapter 'x' cannot be found.");
      await s.client.text("tiny");
    });

    test("the metrics know no adapters", async () => {
      expect(series(await metricsPage(s.client), "vllm:lora_requests_info")).toEqual(new Map());
    });
  });
}

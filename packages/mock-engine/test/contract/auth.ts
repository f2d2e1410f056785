import { describe, expect, test } from "vitest";
import { BASE, expectAnswer, JSON_TYPE, type Suite } from "./setup.ts";

const UNAUTHORIZED = '{"error":"Unauthorized"}';
const HELLO = { model: BASE, prompt: "hello", max_tokens: 2 };

/** Cases of an engine that was started with a key. */
export function authCases(s: Suite): void {
  describe("key", () => {
    test.each([
      { path: "/v1/models", json: undefined },
      { path: "/v1/completions", json: HELLO },
      { path: "/v1/chat/completions", json: { model: BASE, messages: [] } },
      { path: "/v1/load_lora_adapter", json: { lora_name: "x", lora_path: "/nope" } },
      { path: "/v1/unload_lora_adapter", json: { lora_name: "x" } },
      { path: "/v1/nope", json: undefined },
    ])("$path needs it", async ({ path, json }) => {
      const answer = await s.client.withKey(undefined).call(path, { json });
      expectAnswer(answer, 401, JSON_TYPE, UNAUTHORIZED);
      expect(answer.headers.get("vary")).toBeNull();
    });

    test.each([
      { path: "/health", json: undefined, type: null },
      { path: "/ping", json: undefined, type: null },
      { path: "/version", json: undefined, type: JSON_TYPE },
      { path: "/load", json: undefined, type: JSON_TYPE },
      { path: "/docs", json: undefined, type: "text/html; charset=utf-8" },
      { path: "/metrics", json: undefined, type: "text/plain; version=1.0.0; charset=utf-8" },
      { path: "/tokenize", json: { model: BASE, prompt: "hello" }, type: JSON_TYPE },
      { path: "/invocations", json: HELLO, type: JSON_TYPE },
    ])("$path is open", async ({ path, json, type }) => {
      const answer = await s.client.withKey(undefined).call(path, { json });
      expect({ status: answer.status, contentType: answer.contentType }, answer.text).toEqual({ status: 200, contentType: type });
    });

    test("the SageMaker door is open: adapters can be changed without it", async () => {
      const open = s.client.withKey(undefined);
      expectAnswer(
        await open.call("/adapters", { json: { name: "door", src: s.world.path("code") } }),
        200,
        null,
        "Adapter door registered",
      );
      expectAnswer(await open.call("/adapters/door", { method: "DELETE" }), 200, null, "Adapter door unregistered");
    });

    test.each([
      { name: "another key", header: "Bearer nope", status: 401 },
      { name: "the key in another case", header: "Bearer SK-CONTRACT", status: 401 },
      { name: "the key without a scheme", header: "sk-contract", status: 401 },
      { name: "another scheme", header: "Basic sk-contract", status: 401 },
      { name: "two blanks before the key", header: "Bearer  sk-contract", status: 401 },
      { name: "a lower-case scheme", header: "bearer sk-contract", status: 200 },
    ])("$name: $status", async ({ header, status }) => {
      expect((await s.client.withKey(undefined).call("/v1/models", { headers: { authorization: header } })).status).toBe(status);
    });
  });
}

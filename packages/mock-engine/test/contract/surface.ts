import { describe, expect, test } from "vitest";
import { CHAT_SHAPE, COMPLETION_SHAPE, modelsShape, shapeOf } from "../shapes.ts";
import { BASE, expectAnswer, expectError, JSON_TYPE, MAX_MODEL_LEN, metricsPage, promptOver, type Suite, series, until } from "./setup.ts";

const LABELS = `{engine="0",model_name="${BASE}"}`;
/** Help, first bounds, last bound and number of buckets of each histogram, as vLLM's. */
const LATENCIES = [
  {
    name: "vllm:time_to_first_token_seconds",
    help: "Histogram of time to first token in seconds.",
    first: ["0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5"],
    last: "2560.0",
    bounds: 23,
  },
  {
    name: "vllm:inter_token_latency_seconds",
    help: "Histogram of inter-token latency in seconds.",
    first: ["0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.75", "1.0", "2.5"],
    last: "80.0",
    bounds: 20,
  },
  {
    name: "vllm:e2e_request_latency_seconds",
    help: "Histogram of e2e request latency in seconds.",
    first: ["0.3", "0.5", "0.8", "1.0", "1.5", "2.0", "2.5", "5.0", "10.0", "15.0", "20.0", "30.0"],
    last: "7680.0",
    bounds: 22,
  },
] as const;
const MESSAGES = [{ role: "user", content: "hi" }];

/** One histogram of a page: its buckets by bound, in their order. */
function histogram(page: string, name: string): { readonly buckets: Map<string, number>; readonly count: number; readonly sum: number } {
  const buckets = [...series(page, `${name}_bucket`)].map(([labels, count]) => [/le="([^"]*)"/.exec(labels)?.[1] ?? "", count] as const);
  return {
    buckets: new Map(buckets),
    count: series(page, `${name}_count`).get(LABELS) ?? 0,
    sum: series(page, `${name}_sum`).get(LABELS) ?? 0,
  };
}

/** Cases about the engine as such: status, base model, refusals of requests. */
export function surfaceCases(s: Suite): void {
  describe("status", () => {
    test("health and ping are empty", async () => {
      for (const path of ["/health", "/ping"]) {
        const answer = await s.client.call(path);
        expectAnswer(answer, 200, null, "");
        expect(answer.headers.get("vary")).toBe("Origin");
        expect(answer.headers.get("server")).toBe("uvicorn");
      }
      expect((await s.client.call("/ping", { method: "POST" })).status).toBe(200);
    });

    test("version and load", async () => {
      expectAnswer(await s.client.call("/version"), 200, JSON_TYPE, '{"version":"0.32.0"}');
      expectAnswer(await s.client.call("/load"), 200, JSON_TYPE, '{"server_load":0}');
    });

    test("models", async () => {
      const answer = await s.client.call("/v1/models");
      expect({ status: answer.status, type: answer.contentType, shape: shapeOf(answer.text) }).toEqual({
        status: 200,
        type: JSON_TYPE,
        shape: modelsShape(1, 0),
      });
      expect(JSON.parse(answer.text)).toMatchObject({
        object: "list",
        data: [{ id: BASE, object: "model", owned_by: "vllm", root: s.world.model, parent: null, max_model_len: MAX_MODEL_LEN }],
      });
    });

    test("metrics of an idle engine", async () => {
      const isIdle = (page: string): boolean => series(page, "vllm:num_requests_running").get(LABELS) === 0;
      const page = await until(() => metricsPage(s.client), isIdle, "an idle engine");
      expect(series(page, "vllm:num_requests_waiting")).toEqual(new Map([[LABELS, 0]]));
      expect(series(page, "vllm:kv_cache_usage_perc")).toEqual(new Map([[LABELS, 0]]));
      const started = series(page, "process_start_time_seconds").get("") ?? 0;
      expect(started).toBeGreaterThan(Date.now() / 1000 - 3_600);
      expect(started).toBeLessThan(Date.now() / 1000);
    });

    test("metrics by their names, with a slash at the end", async () => {
      const names = ["vllm:num_requests_running", "vllm:num_requests_waiting"];
      const query = new URLSearchParams(names.map((name): [string, string] => ["name[]", name]));
      const { status, text } = await s.client.call(`/metrics/?${query}`);
      expect(status).toBe(200);
      expect(new Set(text.match(/^[^#{ ]+/gm))).toEqual(new Set(names));
      expect((await s.client.call(`/metrics?${query}`)).text).toContain("vllm:kv_cache_usage_perc");
    });

    test("latency histograms count tokens and requests", async () => {
      const idle = async (): Promise<string> => {
        const isIdle = (page: string): boolean => series(page, "vllm:num_requests_running").get(LABELS) === 0;
        return await until(() => metricsPage(s.client), isIdle, "an idle engine");
      };
      const before = await idle();
      const [tokens, answers] = [5, 2];
      const json = { model: BASE, prompt: "hello", max_tokens: tokens, ignore_eos: true, n: answers, temperature: 1 };
      expect((await s.client.call("/v1/completions", { json })).status).toBe(200);
      const counted = (page: string) =>
        LATENCIES.map(({ name }) => (histogram(page, name).count - histogram(before, name).count) / answers);
      const page = await until(idle, (text) => (counted(text)[2] ?? 0) > 0, "the request's times");
      expect(counted(page)).toEqual([1, tokens - 1, 1]);
      for (const { name, help, first, last, bounds } of LATENCIES) {
        const { buckets, count, sum } = histogram(page, name);
        expect(page).toContain(`# HELP ${name} ${help}\n# TYPE ${name} histogram\n`);
        expect([...buckets.keys()].slice(0, first.length), name).toEqual(first);
        expect([...buckets.keys()].slice(-2), name).toEqual([last, "+Inf"]);
        expect(buckets.size, name).toBe(bounds);
        expect([...buckets.values()], name).toEqual([...buckets.values()].sort((a, b) => a - b));
        expect(buckets.get("+Inf"), name).toBe(count);
        expect(sum, name).toBeGreaterThan(0);
      }
    });

    test.each([
      { path: "/nope", method: "GET", status: 404, detail: "Not Found", allow: null },
      { path: "/v1/nope", method: "GET", status: 404, detail: "Not Found", allow: null },
      { path: "/v1/models/tiny", method: "GET", status: 404, detail: "Not Found", allow: null },
      { path: "/v1/embeddings", method: "POST", status: 404, detail: "Not Found", allow: null },
      { path: "/v1/load_lora_adapter", method: "GET", status: 405, detail: "Method Not Allowed", allow: "POST" },
      { path: "/v1/completions", method: "GET", status: 405, detail: "Method Not Allowed", allow: "POST" },
      { path: "/v1/models", method: "POST", status: 405, detail: "Method Not Allowed", allow: "GET" },
      { path: "/adapters/x", method: "GET", status: 405, detail: "Method Not Allowed", allow: "DELETE" },
    ])("$method $path: $status", async ({ path, method, status, detail, allow }) => {
      const answer = await s.client.call(path, { method });
      expectAnswer(answer, status, JSON_TYPE, JSON.stringify({ detail }));
      expect(answer.headers.get("allow")).toBe(allow);
    });
  });

  describe("text", () => {
    test.each([
      { name: "with its model", body: { model: BASE } },
      { name: "without a model: the base model is meant", body: {} },
      { name: "with an empty model: the same", body: { model: "" } },
    ])("completion $name", async ({ body }) => {
      const answer = await s.client.call("/v1/completions", { json: { ...body, prompt: "hello", max_tokens: 4, temperature: 0 } });
      expect({ status: answer.status, type: answer.contentType, shape: shapeOf(answer.text) }).toEqual({
        status: 200,
        type: JSON_TYPE,
        shape: COMPLETION_SHAPE,
      });
      expect(JSON.parse(answer.text)).toMatchObject({
        id: expect.stringMatching(/^cmpl-[0-9a-f]{16}$/),
        object: "text_completion",
        model: BASE,
        choices: [{ index: 0, finish_reason: "length" }],
        usage: { completion_tokens: 4 },
      });
    });

    test("16 tokens unless asked otherwise, several answers, a request id of the caller", async () => {
      const answer = await s.client.call("/v1/completions", {
        json: { prompt: "hello", n: 2, ignore_eos: true },
        headers: { "x-request-id": "mine" },
      });
      expect(JSON.parse(answer.text)).toMatchObject({
        id: "cmpl-mine",
        choices: [{ index: 0 }, { index: 1 }],
        usage: { completion_tokens: 32 },
      });
    });

    test("chat", async () => {
      const answer = await s.client.call("/v1/chat/completions", {
        json: { model: BASE, messages: MESSAGES, max_tokens: 4, temperature: 0 },
      });
      expect({ status: answer.status, type: answer.contentType, shape: shapeOf(answer.text) }).toEqual({
        status: 200,
        type: JSON_TYPE,
        shape: CHAT_SHAPE,
      });
      expect(JSON.parse(answer.text)).toMatchObject({
        id: expect.stringMatching(/^chatcmpl-/),
        object: "chat.completion",
        model: BASE,
        choices: [{ index: 0, message: { role: "assistant" }, finish_reason: "length" }],
        usage: { completion_tokens: 4 },
      });
    });

    test("tokenize", async () => {
      const answer = await s.client.call("/tokenize", { json: { model: BASE, prompt: "hello" } });
      const body = JSON.parse(answer.text) as { count: number; tokens: number[] };
      expect(body).toEqual({
        count: body.tokens.length,
        max_model_len: MAX_MODEL_LEN,
        tokens: expect.arrayContaining([expect.any(Number)]),
        token_strs: null,
      });
    });
  });

  describe("refused requests", () => {
    test.each(["/v1/completions", "/v1/chat/completions", "/tokenize"])("%s: unknown model", async (path) => {
      const content = path === "/v1/chat/completions" ? { messages: MESSAGES } : { prompt: "hello" };
      const answer = await s.client.call(path, { json: { model: "nope", ...content } });
      expectError(answer, 404, "NotFoundError", `The model \`nope\` does not exist. Valid aliases: ${BASE}.`, "model");
    });

    test.each([
      {
        name: "more tokens than the context",
        path: "/v1/completions",
        body: { prompt: "hello", max_tokens: 1000 },
        message:
          "max_tokens=1000 cannot be greater than max_model_len=256. Please request fewer output tokens. (parameter=max_tokens, value=1000)",
        param: "max_tokens",
      },
      {
        name: "more chat tokens than the context",
        path: "/v1/chat/completions",
        body: { messages: MESSAGES, max_completion_tokens: 1000 },
        message:
          "max_completion_tokens=1000 cannot be greater than max_model_len=256. Please request fewer output tokens. (parameter=max_completion_tokens, value=1000)",
        param: "max_completion_tokens",
      },
      {
        name: "no tokens",
        path: "/v1/completions",
        body: { prompt: "hello", max_tokens: 0 },
        message: "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
        param: "max_tokens",
      },
      {
        name: "no prompt",
        path: "/v1/completions",
        body: { max_tokens: 2 },
        message: "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
        param: "prompt",
      },
      {
        name: "stream options without a stream",
        path: "/v1/completions",
        body: { prompt: "hello", stream_options: { include_usage: true } },
        message: "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
        param: "stream_options",
      },
    ])("$name", async ({ path, body, message, param }) => {
      expectError(await s.client.call(path, { json: { model: BASE, ...body } }), 400, "BadRequestError", message, param);
    });

    test("a prompt longer than the context", async () => {
      const prompt = await promptOver(s.client, MAX_MODEL_LEN + 10);
      const answer = await s.client.call("/v1/completions", { json: { model: BASE, prompt, max_tokens: 2 } });
      expectError(
        answer,
        400,
        "BadRequestError",
        /^This model's maximum context length is 256 tokens\. However, your prompt contains /,
        "input_tokens",
      );
    });

    test("no messages", async () => {
      const answer = await s.client.call("/v1/chat/completions", { json: { model: BASE } });
      const message =
        "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required', 'input': '<dict of 1 items>'}";
      expectError(answer, 400, "Bad Request", message, "body.messages");
    });

    test("a model that is no string", async () => {
      const answer = await s.client.call("/v1/completions", { json: { model: 5, prompt: "hello" } });
      const message =
        "1 validation error:\n  {'type': 'string_type', 'loc': 'body.model', 'msg': 'Input should be a valid string', 'input': '5'}";
      expectError(answer, 400, "Bad Request", message, "body.model");
    });

    test("no conversation", async () => {
      const answer = await s.client.call("/v1/chat/completions", { json: { model: BASE, messages: [] } });
      expectError(answer, 400, "BadRequestError", "Cannot apply chat template to an empty conversation. Provide at least one message.");
    });

    test("a number may come as a string, a word may not", async () => {
      const answer = await s.client.call("/v1/completions", { json: { prompt: "hello", max_tokens: "3", temperature: 0 } });
      expect(JSON.parse(answer.text)).toMatchObject({ usage: { completion_tokens: 3 } });
      const word = await s.client.call("/v1/completions", { json: { prompt: "hello", max_tokens: "a" } });
      const message =
        "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.max_tokens', 'msg': 'Input should be a valid integer, unable to parse string as an integer', 'input': 'a'}";
      expectError(word, 400, "Bad Request", message, "body.max_tokens");
    });
  });

  describe("/invocations", () => {
    const json = { model: "nope", prompt: "hello", max_tokens: 2, temperature: 0 };
    const header = "x-amzn-sagemaker-adapter-identifier";

    test("takes the model from a header, never from the body", async () => {
      expect(JSON.parse((await s.client.call("/invocations", { json })).text)).toMatchObject({ model: BASE });
      const answer = await s.client.call("/invocations", { json: { ...json, model: BASE }, headers: { [header]: "nope" } });
      expectError(answer, 404, "NotFoundError", `The model \`nope\` does not exist. Valid aliases: ${BASE}.`, "model");
    });

    test("tells chat by its messages", async () => {
      const answer = await s.client.call("/invocations", { json: { messages: MESSAGES, max_tokens: 2, temperature: 0 } });
      expect(shapeOf(answer.text)).toBe(CHAT_SHAPE);
    });

    test("refuses what it cannot read", async () => {
      const neither = await s.client.call("/invocations", { json: { input: "hello" } });
      const message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
      expectError(neither, 400, "BadRequestError", message, "prompt");
      const broken = await s.client.call("/invocations", { raw: { text: "{", type: "application/json" } });
      expectError(
        broken,
        400,
        "Bad Request",
        "JSON decode error: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
      );
    });
  });
}

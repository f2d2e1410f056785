import { describe, expect, test } from "vitest";
import { EventStream, streamedText } from "../http.ts";
import { EVENT_SHAPES, shapeOf } from "../shapes.ts";
import { BASE, EVENTS_TYPE, expectError, type Suite } from "./setup.ts";

const MESSAGES = [{ role: "user", content: "hi" }];
/** Tokens that last long enough to do something meanwhile. */
const LONG = 200;

async function open(s: Suite, path: string, json: object): Promise<EventStream> {
  return new EventStream(await s.client.open(path, { json: { ...json, stream: true, temperature: 0 } }));
}

/** Cases about streamed answers. */
export function streamCases(s: Suite): void {
  describe("streams", () => {
    test.each([
      {
        name: "completion",
        path: "/v1/completions",
        body: { prompt: "hello" },
        usage: false,
        first: [],
        token: "completionToken",
        last: "completionLast",
      },
      {
        name: "completion with usage",
        path: "/v1/completions",
        body: { prompt: "hello" },
        usage: true,
        first: [],
        token: "completionToken",
        last: "completionLastBeforeUsage",
      },
      {
        name: "chat",
        path: "/v1/chat/completions",
        body: { messages: MESSAGES },
        usage: false,
        first: ["chatRole"],
        token: "chatToken",
        last: "chatLast",
      },
      {
        name: "chat with usage",
        path: "/v1/chat/completions",
        body: { messages: MESSAGES },
        usage: true,
        first: ["chatRole"],
        token: "chatToken",
        last: "chatLastBeforeUsage",
      },
    ] as const)("frames of a $name", async ({ path, body, usage, first, token, last }) => {
      const stream = await open(s, path, {
        model: BASE,
        ...body,
        max_tokens: 3,
        ...(usage ? { stream_options: { include_usage: true } } : {}),
      });
      expect({ status: stream.status, contentType: stream.contentType }).toEqual({ status: 200, contentType: EVENTS_TYPE });
      const events = await stream.end();
      expect(events.at(-1)).toBe("[DONE]");
      const names = [...first, token, token, last, ...(usage ? (["usage"] as const) : [])];
      expect(events.slice(0, -1).map(shapeOf)).toEqual(names.map((name) => EVENT_SHAPES[name]));
      const parsed = events.slice(0, -1).map((event) => JSON.parse(event) as { id: string; choices: { finish_reason: string | null }[] });
      expect(new Set(parsed.map(({ id }) => id)).size).toBe(1);
      expect(parsed.filter(({ choices }) => choices[0]?.finish_reason === "length")).toHaveLength(1);
      if (usage) expect(parsed.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    });

    test("streamed and whole texts are the same", async () => {
      await s.client.mustLoad("same", s.world.path("chat"));
      const stream = await open(s, "/v1/completions", { model: "same", prompt: "def add(a, b):", max_tokens: 12 });
      expect(streamedText(await stream.end())).toBe(await s.client.text("same", { maxTokens: 12 }));
      await s.client.mustUnload("same");
    });

    test("an error before the first token is a plain answer", async () => {
      const answer = await s.client.call("/v1/completions", { json: { model: "nope", prompt: "hello", stream: true } });
      expectError(answer, 404, "NotFoundError", `The model \`nope\` does not exist. Valid aliases: ${BASE}.`, "model");
    });

    test("a stream outlives the unload of its adapter, new requests do not", async () => {
      await s.client.mustLoad("left", s.world.path("sql"));
      const alone = await s.client.text("left", { prompt: "hello", maxTokens: LONG });
      const stream = await (await open(s, "/v1/completions", { model: "left", prompt: "hello", max_tokens: LONG })).begin();
      await s.client.mustUnload("left");
      expect((await s.client.call("/v1/completions", { json: { model: "left", prompt: "hello", max_tokens: 2 } })).status).toBe(404);
      const events = await stream.end();
      expect(events.at(-1)).toBe("[DONE]");
      expect(streamedText(events)).toBe(alone);
    });

    test("a swap by unload and load under a stream: it ends with the old weights, the next request has the new ones", async () => {
      await s.client.mustLoad("code", s.world.path("code"));
      const code = s.target.voice(await s.client.text("code"));
      await s.client.mustUnload("code");
      await s.client.mustLoad("swapped", s.world.path("sql"));
      const alone = await s.client.text("swapped", { prompt: "hello", maxTokens: LONG });
      const stream = await (await open(s, "/v1/completions", { model: "swapped", prompt: "hello", max_tokens: LONG })).begin();
      await s.client.mustUnload("swapped");
      await s.client.mustLoad("swapped", s.world.path("code"));
      expect(s.target.voice(await s.client.text("swapped"))).toBe(code);
      expect(streamedText(await stream.end())).toBe(alone);
      await s.client.mustUnload("swapped");
    });
  });
}

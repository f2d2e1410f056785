import { expect, test } from "vitest";
import type { RequestHead } from "../http/request-head.ts";
import { RoutingTable } from "../routing/table.ts";
import { onRoutesChanged } from "./look-up.ts";
import { step } from "./step.ts";
import { Attempts, type Message, NEW_REQUEST, type PhaseDeps, type RequestState, type Step, type Trial, type Wanted } from "./types.ts";

const table = new RoutingTable();
table.update("e1", {
  type: "state",
  state: {
    address: "10.0.0.1:8000",
    notReady: undefined,
    models: [
      { id: "base", kind: "base", root: "base", createdSec: 1 },
      { id: "lora", kind: "adapter", root: "/a", parent: "base", createdSec: 2 },
      { id: "loading", kind: "adapter", root: "/b", createdSec: 3, notServing: "it is Loading" },
    ],
  },
});
const deps: PhaseDeps = { routes: table, pick: (addresses) => addresses, inCanary: () => false };

const HEAD: RequestHead = {
  method: "POST",
  path: "/v1/completions",
  contentType: "application/json",
  contentLength: undefined,
  contentEncoding: "",
  modelNamespace: undefined,
  peekedModel: undefined,
  requestId: undefined,
  traceparent: undefined,
  tracestate: undefined,
};
const headers = (head: Partial<RequestHead>, endOfStream = false): Message => ({
  kind: "requestHeaders",
  head: { ...HEAD, ...head },
  endOfStream,
});
const body = (text: string): Message => ({ kind: "requestBody", body: Buffer.from(text), endOfStream: true });

/** A step as a word: what it replies, and where the request stands. */
function short([state, effect]: Step): string {
  if (effect.kind !== "reply") return `${effect.kind} → ${state.phase}`;
  const { reply } = effect;
  switch (reply.kind) {
    case "continue":
      return `continue ${reply.phase} → ${state.phase}`;
    case "readBody":
      return `readBody → ${state.phase}`;
    case "route":
      return `route ${reply.phase} ${reply.destinations.join(",")} → ${state.phase}`;
    case "answer":
      return `answer ${reply.answer.status} → ${state.phase}`;
  }
}

test.each([
  { name: "a completion", message: headers({}), want: "readBody → body" },
  { name: "a body at the limit", message: headers({ contentLength: 16 * 1024 * 1024 }), want: "readBody → body" },
  { name: "a body above the limit", message: headers({ contentLength: 16 * 1024 * 1024 + 1 }), want: "answer 413 → done" },
  {
    name: "audio above the other limit",
    message: headers({ path: "/v1/audio/transcriptions", contentLength: 20 * 1024 * 1024 }),
    want: "readBody → body",
  },
  { name: "no body", message: headers({}, true), want: "answer 400 → done" },
  { name: "compression", message: headers({ contentEncoding: "gzip" }), want: "answer 415 → done" },
  { name: "a GET", message: headers({ method: "GET" }, true), want: "answer 405 → done" },
  { name: "an unknown path", message: headers({ path: "/x" }), want: "answer 404 → done" },
  { name: "the list of models", message: headers({ method: "GET", path: "/v1/models" }, true), want: "answer 200 → done" },
  { name: "a model", message: headers({ method: "GET", path: "/v1/models/lora" }, true), want: "answer 200 → done" },
  { name: "a model that loads", message: headers({ method: "GET", path: "/v1/models/loading" }, true), want: "answer 404 → done" },
  { name: "a model that Envoy found", message: headers({ peekedModel: "lora" }), want: "route requestHeaders 10.0.0.1:8000 → done" },
  { name: "an unknown model that Envoy found", message: headers({ peekedModel: "x" }), want: "wait → waiting" },
  {
    name: "a form, whatever Envoy found",
    message: headers({ path: "/v1/audio/transcriptions", peekedModel: "lora" }),
    want: "readBody → body",
  },
  {
    name: "a body above the limit, whatever Envoy found",
    message: headers({ contentLength: 2 ** 25, peekedModel: "lora" }),
    want: "answer 413 → done",
  },
  { name: "no headers at all", message: headers({ method: "", path: "" }), want: "answer 404 → done" },
])("headers: $name", ({ message, want }) => {
  expect(short(step(NEW_REQUEST, message, deps))).toBe(want);
});

const ANY: Wanted = { namespace: undefined, subset: undefined };
const JSON_BODY: RequestState = { phase: "body", body: "json", contentType: "", limitBytes: 100, wanted: ANY };

test.each([
  { name: "a base model", text: '{"model":"base"}', want: "route requestBody 10.0.0.1:8000 → done" },
  { name: "an adapter", text: '{"model":"lora"}', want: "route requestBody 10.0.0.1:8000 → done" },
  { name: "an unknown model waits", text: '{"model":"x"}', want: "wait → waiting" },
  { name: "a model that loads waits", text: '{"model":"loading"}', want: "wait → waiting" },
  { name: "a broken body", text: "{", want: "answer 400 → done" },
  { name: "an empty body", text: "", want: "answer 400 → done" },
  { name: "a body above the limit", text: " ".repeat(101), want: "answer 413 → done" },
])("body: $name", ({ text, want }) => {
  expect(short(step(JSON_BODY, body(text), deps))).toBe(want);
});

test.each([
  { name: "is there now", model: "lora", last: false, want: "route requestBody 10.0.0.1:8000 → done" },
  { name: "is still unknown", model: "x", last: false, want: "wait → waiting" },
  { name: "is unknown at the end", model: "x", last: true, want: "answer 404 → done" },
  { name: "still loads", model: "loading", last: false, want: "wait → waiting" },
  { name: "loads at the end", model: "loading", last: true, want: "answer 503 → done" },
])("waiting: a model that $name", ({ model, last, want }) => {
  expect(short(onRoutesChanged({ phase: "waiting", on: "requestBody", model, wanted: ANY }, last, deps))).toBe(want);
});

test("the namespace of the headers counts until the request is routed", () => {
  const held = new RoutingTable();
  const shared = { id: "shared", kind: "base", root: "shared" } as const;
  const place = (namespace: string, address: string, createdSec: number): void =>
    held.update(namespace, { type: "state", state: { address, notReady: undefined, models: [{ ...shared, namespace, createdSec }] } });
  place("old", "10.0.0.1:8000", 1);
  const both: PhaseDeps = { routes: held, pick: (addresses) => addresses, inCanary: () => false };
  const asked = (namespace: string | undefined): Step => step(NEW_REQUEST, headers({ modelNamespace: namespace }), both);
  const [young] = step(asked("young")[0], body('{"model":"shared"}'), both);
  expect(young.phase).toBe("waiting");
  place("young", "10.0.0.2:8000", 2);
  expect(short(onRoutesChanged(young as RequestState & { phase: "waiting" }, false, both))).toBe("route requestBody 10.0.0.2:8000 → done");
  expect(short(step(asked(undefined)[0], body('{"model":"shared"}'), both))).toBe("route requestBody 10.0.0.1:8000 → done");
  expect(short(step(asked("other")[0], body('{"model":"shared"}'), both))).toBe("wait → waiting");
});

test("a content on trial gets its share, and retries stay with one content, but the last where Envoy tells of them", () => {
  const tried = new RoutingTable();
  const attempts = new Attempts();
  const pick = (own: readonly string[], others: readonly string[] = []) => [...own, ...others];
  const place = (n: number, canaryWeight?: number): void => {
    const model = {
      id: "lora",
      kind: "adapter",
      root: "lora",
      createdSec: 1,
      ...(canaryWeight === undefined ? {} : { canaryWeight }),
    } as const;
    tried.update(`e${n}`, { type: "state", state: { address: `10.0.0.${n}:8000`, notReady: undefined, models: [model] } });
  };
  place(1);
  place(2, 5);
  const asked: number[] = [];
  const sent = (canary: boolean, subset?: readonly string[]) => {
    const inCanary = (weight: number) => asked.push(weight) > 0 && canary;
    const message = { ...headers({ peekedModel: "lora" }), ...(subset === undefined ? {} : { subset }) } as Message;
    const [, effect] = step(NEW_REQUEST, message, { ...deps, routes: tried, pick, inCanary, attempts });
    const { reply } = effect as { reply: { trial?: Trial; destinations: readonly string[] } };
    return `${reply.trial?.version}${reply.trial?.own ?? ""} ${reply.destinations.map((d) => d.slice(7, 8)).join("")}`;
  };
  expect([sent(false), sent(true)]).toEqual(["stable 1", "canary 2"]);
  expect(asked).toEqual([5, 5]);
  // Where only one of the contents may be or can be picked, it gets all; one on trial is counted as that.
  expect([sent(true, ["10.0.0.1:8000"]), sent(false, ["10.0.0.2:8000"])]).toEqual(["undefined 1", "canary 2"]);
  attempts.onAnswer(200, 1);
  expect([sent(false), sent(true)]).toEqual(["stable4 12", "canary4 21"]);
  expect(sent(true, ["10.0.0.1:8000"])).toBe("undefined 1");
  place(2, 0);
  expect(sent(false)).toBe("stable 1");
  place(2, 5);
  // An error may be Envoy's own; an answer of an engine that does not tell shows an Envoy without that.
  attempts.onAnswer(503, undefined);
  expect(sent(true)).toBe("canary4 21");
  attempts.onAnswer(200, undefined);
  expect(sent(true)).toBe("canary 2");
  asked.length = 0;
  tried.remove("e1");
  expect(sent(false)).toBe("canary 2");
  expect(asked).toEqual([]);
});

const STATES: RequestState[] = [
  NEW_REQUEST,
  JSON_BODY,
  { phase: "waiting", on: "requestBody", model: "x", wanted: ANY },
  { phase: "done" },
];
const OTHERS = ["requestTrailers", "responseHeaders", "responseBody", "responseTrailers"] as const;

test("trailers where a body was asked for say that there is none", () => {
  expect(short(step(JSON_BODY, { kind: "requestTrailers" }, deps))).toBe("answer 400 → done");
});

test.each(
  STATES.flatMap((state) => OTHERS.map((kind) => ({ state, kind }))).filter(
    ({ state, kind }) => state.phase !== "body" || kind !== "requestTrailers",
  ),
)("$kind is acknowledged in phase $state.phase", ({ state, kind }) => {
  const message: Message = kind === "responseBody" ? { kind, body: Buffer.alloc(0), endOfStream: true } : { kind };
  expect(short(step(state, message, deps))).toBe(`continue ${kind} → ${state.phase}`);
});

test("a body or headers out of turn are acknowledged and change nothing", () => {
  expect(short(step(NEW_REQUEST, body('{"model":"base"}'), deps))).toBe("continue requestBody → new");
  expect(short(step({ phase: "done" }, headers({}), deps))).toBe("continue requestHeaders → done");
});

test("a message of an unknown kind has no answer", () => {
  expect(short(step(NEW_REQUEST, { kind: "unknown" }, deps))).toBe("none → new");
});

test("the answers of all errors have OpenAI's shape", () => {
  const messages = [headers({ path: "/x" }), headers({ method: "GET" }), headers({ contentEncoding: "br" }), headers({}, true)];
  for (const message of messages) {
    const [, effect] = step(NEW_REQUEST, message, deps);
    if (effect.kind !== "reply" || effect.reply.kind !== "answer") throw new Error("not an answer");
    expect(JSON.parse(effect.reply.answer.body)).toEqual({
      error: {
        message: expect.any(String),
        type: "invalid_request_error",
        param: null,
        code: effect.reply.answer.status === 400 ? null : expect.any(String),
      },
    });
  }
});

import { createLogger } from "@aibrix/service";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeRuntime } from "../../test/support/fake-runtime.ts";
import { until } from "../../test/support/wait.ts";
import { RoutingTable } from "../routing/table.ts";
import { parseEndpoints } from "./config.ts";
import { EngineSources } from "./sources.ts";

const TIMINGS = { silenceMs: 3_000, graceMs: 60_000, listPeriodMs: 50, callTimeoutMs: 2_000, backoffMs: [10, 50] as const };
const ENGINE = "http://localhost:8000";
const log = createLogger("test", "silent");

let runtime: FakeRuntime;
let table: RoutingTable;
let sources: EngineSources;

function follow(timings = TIMINGS): void {
  table = new RoutingTable();
  sources = new EngineSources(table, log, () => undefined, timings);
  sources.apply(parseEndpoints(`engines: [{engine: '${ENGINE}', runtime: '${runtime.url}', models: [named]}]`, "f"));
}

beforeEach(async () => {
  runtime = await new FakeRuntime(ENGINE, ["base"]).start();
});

afterEach(async () => {
  await sources.close();
  await runtime.stop();
});

test("a snapshot and every kind of event reach the table", async () => {
  runtime.setAdapter("first");
  follow();
  expect(sources.untried()).toEqual({ untried: 1, of: 1 });
  expect(table.find("named")).toEqual({ kind: "notReady", why: "its engine has not answered yet" });
  await until("the snapshot is in", () => table.find("first").kind === "routable");
  expect(sources.untried()).toEqual({ untried: 0, of: 1 });
  expect(table.find("named")).toEqual({ kind: "routable", addresses: ["127.0.0.1:8000"] });
  expect(table.card("first")).toMatchObject({ parent: "base", root: "/adapters/first/0", createdSec: 1_767_323_045 });

  runtime.setAdapter("second", { serving: null, state: "Downloading" });
  await until("it is known", () => table.find("second").kind === "notReady");
  expect(table.find("second")).toEqual({ kind: "notReady", why: "it is Downloading" });
  runtime.send({ type: "BOOKMARK" });
  runtime.send({ type: "MANIFESTS", object: [] });
  runtime.sendRaw('{"type":"LATER_VERSION"}\n');
  runtime.setAdapter("second");
  await until("it is served", () => table.find("second").kind === "routable");
  runtime.setReady(false);
  await until("it is told", () => table.find("first").kind === "notReady");
  runtime.setReady(true);
  await until("it is back", () => table.find("second").kind === "routable");
  runtime.deleteAdapter("second");
  await until("it is gone", () => table.find("second").kind === "unknown");
  expect(runtime.connections).toBe(1);
});

test("an adapter that is being taken away gets nothing new, though it still serves, also where a snapshot says so", async () => {
  runtime.setAdapter("lora");
  follow();
  await until("it is served", () => table.find("lora").kind === "routable");
  runtime.setAdapter("lora", { state: "Draining" });
  await until("it is unknown", () => table.find("lora").kind === "unknown");
  runtime.cut();
  await until("it is followed again", () => runtime.connections > 1 && table.find("base").kind === "routable");
  expect(table.find("lora").kind).toBe("unknown");
  runtime.setAdapter("lora");
  await until("it is wanted again", () => table.find("lora").kind === "routable");
});

test("an adapter whose new content waits for requests to end gets no more of them; one that fetches does", async () => {
  runtime.setAdapter("lora", { state: "Updating" });
  follow();
  await until("it is served", () => table.find("lora").kind === "routable");
  runtime.setAdapter("lora", { state: "Updating", waits_since: "2026-01-02T03:04:05Z" });
  await until("it is not", () => table.find("lora").kind === "notReady");
  expect(table.find("lora")).toEqual({ kind: "notReady", why: "it is Updating", swapping: true });
  // In the moment without either, and where the old one is put back.
  runtime.setAdapter("lora", { state: "Failed", reason: "EngineRefused", serving: null, swapping: true });
  await until("it is away", () => {
    const found = table.find("lora");
    return found.kind === "notReady" && found.swapping === true && found.why !== "it is Updating";
  });
  runtime.setAdapter("lora", { state: "Failed", reason: "EngineRefused", serving: null });
  await until("it does not come back", () => {
    const found = table.find("lora");
    return found.kind === "notReady" && found.swapping !== true;
  });
  runtime.setAdapter("lora");
  await until("it is again", () => table.find("lora").kind === "routable");
});

test("a cut stream is followed again, and what changed meanwhile is seen", async () => {
  runtime.setAdapter("old");
  follow();
  await until("the snapshot is in", () => table.find("old").kind === "routable");
  await runtime.stop();
  runtime.adapters.delete("old");
  runtime.setAdapter("new");
  expect(table.find("old").kind).toBe("routable"); // Within the grace its engine serves on.
  await runtime.start();
  await until("it is followed again", () => table.find("new").kind === "routable");
  expect(table.find("old").kind).toBe("unknown");
});

test("after the grace an engine whose runtime is not heard takes no requests, until it is", async () => {
  runtime.setAdapter("lora");
  follow({ ...TIMINGS, graceMs: 100 });
  await until("the snapshot is in", () => table.find("lora").kind === "routable");
  await runtime.stop();
  const found = await until("the grace is over", () => {
    const f = table.find("lora");
    return f.kind === "notReady" ? f : undefined;
  });
  expect(found.why).toBe("the runtime beside its engine does not answer");
  await runtime.start();
  await until("it is back", () => table.find("lora").kind === "routable");
});

test("a runtime that is back within the grace keeps its engine in use", async () => {
  follow({ ...TIMINGS, graceMs: 300 });
  await until("the snapshot is in", () => table.find("base").kind === "routable");
  const refusals: number[] = [];
  table.onChange(() => {
    if (table.find("base").kind !== "routable") refusals.push(Date.now());
  });
  runtime.cut();
  const cutMs = Date.now();
  await until("it is followed again", () => runtime.connections > 1 && runtime.watches === 1);
  await until("the grace would be over", () => Date.now() > cutMs + 400);
  expect(refusals).toEqual([]);
});

test("a stream that falls silent is begun anew", async () => {
  follow({ ...TIMINGS, silenceMs: 300 });
  await until("it is followed again", () => runtime.connections > 1);
});

test.each([
  { name: "a line that is not JSON", text: "nonsense\n" },
  { name: "a snapshot of another form", text: '{"type":"SNAPSHOT","object":{"engine":1}}\n' },
])("$name begins the stream anew", async ({ text }) => {
  follow();
  await until("the snapshot is in", () => table.find("base").kind === "routable");
  runtime.sendRaw(text);
  await until("it is followed again", () => runtime.connections > 1);
  expect(table.find("base").kind).toBe("routable");
});

test("an address that is no runtime counts as tried", async () => {
  runtime.status = 404;
  follow();
  await until("it is tried", () => sources.untried().untried === 0);
  expect(table.find("base").kind).toBe("unknown");
});

test("an endpoint that is taken out ends its stream and its routes", async () => {
  follow();
  await until("the snapshot is in", () => table.find("base").kind === "routable");
  sources.apply([]);
  expect(table.find("base").kind).toBe("unknown");
  await until("the stream is closed", () => runtime.watches === 0);
});

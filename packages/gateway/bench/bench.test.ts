import { envoyBootstrap } from "@aibrix/devcluster";
import { expect, test } from "vitest";
import { atRestText, restFigures, sumOf } from "./at-rest.ts";
import { chatBody, MODEL_PLACEHOLDER } from "./bodies.ts";
import { cellFigures, type Sample, withPlain } from "./figures.ts";
import { median, percentile } from "./histogram.ts";
import { adapterName, enginesOf, loadArgs } from "./loader.ts";
import { niceCeiling, plot } from "./plot.ts";
import { kibOf } from "./processes.ts";
import { soakText } from "./soak.ts";
import { metric } from "./stage.ts";
import { markdown, table } from "./table.ts";
import { LIMIT, PEER, SHIPPED, VARIANTS, withBody, withoutExtProc } from "./variants.ts";

test("a percentile is the bucket that holds it, whatever the order", () => {
  const buckets = [
    [300, 1],
    [100, 90],
    [200, 9],
  ] as const;
  expect([1, 50, 90, 91, 99, 100].map((p) => percentile(buckets, p))).toEqual([100, 100, 100, 200, 200, 300]);
  expect(percentile([], 50)).toBeNaN();
});

test("a median is the middle, or the mean of the two in the middle", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
  expect(median([])).toBeNaN();
});

const sample = (p50Us: number, cpuUs: number | undefined, more: Partial<Sample> = {}): Sample => ({
  requests: 100,
  failures: 0,
  requestsPerSecond: 1_000,
  p50Us,
  p99Us: 10 * p50Us,
  cpuUs,
  reads: cpuUs === undefined ? undefined : 0.5,
  envoyCpuUs: 50,
  ...more,
});

const cell = { kib: 1, concurrency: 32, stream: false };
const samples = new Map([
  ["none", [sample(100, undefined), sample(200, undefined), sample(300, undefined)]],
  ["go", [sample(300, 80), sample(400, 90), sample(700, 100)]],
  ["gateway", [sample(200, 40, { failures: 2 }), sample(300, 45), sample(400, 90, { requestsPerSecond: 4_000 })]],
]);

test("what is added is above the limit in the same round, and ratios are of the peer's medians", () => {
  const { variants } = cellFigures(cell, samples, "none", "go");
  const [none, go, ours] = variants;
  expect(none).not.toHaveProperty("addedP50Us");
  expect(none).not.toHaveProperty("ofPeer");
  expect(go).toMatchObject({ addedP50Us: 200, addedP99Us: 2_000, cpuUs: 90 });
  expect(go).not.toHaveProperty("ofPeer");
  expect(ours).toMatchObject({ requests: 300, failures: 2, p50Us: 300, addedP50Us: 100, cpuUs: 45 });
  expect(ours?.ofPeer).toEqual({ cpu: 0.5, addedP50: 0.5, addedP99: 0.5, requestsPerSecond: 1 });
});

test("without the limit and the peer there are no such figures", () => {
  const { variants } = cellFigures(cell, new Map([["gateway", [sample(1, 2)]]]), "none", "go");
  expect(variants[0]).not.toHaveProperty("addedP50Us");
  expect(variants[0]).not.toHaveProperty("ofPeer");
});

test("event streams are set beside plain requests of their kind", () => {
  const plain = cellFigures(cell, new Map([["gateway", [sample(1, 40)]]]), "none", "go");
  const events = cellFigures({ ...cell, stream: true }, new Map([["gateway", [sample(1, 50)]]]), "none", "go");
  const other = { ...events, kib: 32 };
  const paced = cellFigures({ ...cell, paced: true }, new Map([["gateway", [sample(1, 100)]]]), "none", "go");
  // The plain requests that are as many as can be stay the first ones to be set beside, wherever they stand.
  const of = withPlain([paced, plain, events, other]).map((c) => [c.variants[0]?.ofPlainCpu, c.variants[0]?.ofPacedCpu]);
  expect(of).toEqual([
    [undefined, undefined],
    [undefined, undefined],
    [1.25, 0.5],
    [undefined, undefined],
  ]);
  const text = table(withPlain([paced, events]));
  expect(text).toContain("1 KB, 32 at a time, plain at the rate of the events");
  expect(text).toContain("CPU ×paced");
});

test.each([1, 32, 256])("a body of %d KB is JSON of that size in openai-python's order", (kib) => {
  const text = chatBody(kib * 1024, true);
  expect(Buffer.byteLength(text)).toBe(kib * 1024);
  const body = JSON.parse(text);
  expect(Object.keys(body)).toEqual(["messages", "model", "max_tokens", "stream", "temperature"]);
  expect(body.model).toBe(MODEL_PLACEHOLDER);
  expect(text.split(MODEL_PLACEHOLDER)).toHaveLength(2);
  expect(JSON.parse(chatBody(2_000, false))).not.toHaveProperty("stream");
});

test("an adapter is on the engines after its number, around the end too", () => {
  const placement = { adapters: 1_000, engines: 50, copies: 2 };
  expect(enginesOf(7, placement)).toEqual([7, 8]);
  expect(enginesOf(149, placement)).toEqual([49, 0]);
  expect(adapterName(7)).toHaveLength(MODEL_PLACEHOLDER.length);
  const args = loadArgs({ to: "127.0.0.1:1", body: "/b", concurrency: 3, seconds: 2, checkEngine: true }, placement);
  expect(args).toEqual(expect.arrayContaining(["-duration=2s", "-requests=0", "-adapters=1000", "-copies=2", "-check-engine=true"]));
  const one = loadArgs({ to: "127.0.0.1:1", body: "/b", concurrency: 3, adapter: 7, checkEngine: true }, placement);
  expect(one).toEqual(expect.arrayContaining(["-adapters=1", "-first=7"]));
});

test("values are read from what processes say of themselves", () => {
  const status = "Name:\tnode\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n";
  expect([kibOf(status, "VmRSS"), kibOf(status, "VmHWM")]).toEqual([102_400, 204_800]);
  expect(metric("# TYPE a gauge\nab 1\na 1001\n", "a")).toBe(1_001);
});

test("without ext_proc nobody is asked, and every request reaches the engines", () => {
  const options = { listenPort: 1, adminPort: 2, extProc: { host: "127.0.0.1", port: 3 }, engines: [{ host: "127.0.0.1", port: 4 }] };
  const text = JSON.stringify(withoutExtProc(envoyBootstrap(options)));
  expect(text).toContain("envoy.filters.http.router");
  expect(text).not.toContain("envoy.filters.http.ext_proc");
  expect(text).not.toContain("present_match");
  expect(text).toContain("override_host");
});

test("the peer gets every body, which it has no other way to read", () => {
  const options = { listenPort: 1, adminPort: 2, extProc: { host: "127.0.0.1", port: 3 }, engines: [] };
  const text = JSON.stringify(withBody(envoyBootstrap(options)));
  expect(text).toContain('"request_body_mode":"BUFFERED"');
  expect(text).toContain("envoy.filters.http.ext_proc");
  expect(text).not.toContain("envoy.filters.http.lua");
  expect(VARIANTS[PEER]?.envoy).toBe(withBody);
});

test("the limit, the peer and what ships are among the variants; an Envoy with its defaults is where it is asked for", () => {
  for (const name of [LIMIT, PEER, SHIPPED]) expect(VARIANTS[name]).not.toHaveProperty("asked");
  const resets = VARIANTS[`${SHIPPED}-resets`];
  const options = { listenPort: 1, adminPort: 2, extProc: { host: "127.0.0.1", port: 3 }, engines: [] };
  expect(JSON.stringify(resets?.envoy(envoyBootstrap(options)))).not.toContain("graceful");
  expect(resets?.asked).toBe(true);
});

test("the table has a line for each variant, with nothing where there is no figure", () => {
  const lines = table([cellFigures(cell, samples, "none", "go")]).split("\n");
  expect(lines[0]).toBe("1 KB, 32 at a time, plain");
  expect(lines.slice(2, 5).map((line) => line.trim().split(/\s+/)[0])).toEqual(["none", "go", "gateway"]);
  expect(lines[4]).toContain("2/300");
  const rows = markdown([cellFigures(cell, samples, "none", "go")])
    .trim()
    .split("\n")
    .map((row) => row.split("|").length);
  expect(rows).toEqual(Array(5).fill(rows[0]));
});

test("the picture names each variant with its figure, and its axes", () => {
  const svg = plot([cellFigures(cell, samples, "none", "go")], 32, "a < b");
  expect(svg).toContain("a &lt; b");
  for (const words of ["gateway", "go", "µs per request", "requests per second", "1 KB body", ">45<"]) expect(svg).toContain(words);
  expect([niceCeiling(0.9), niceCeiling(1), niceCeiling(21), niceCeiling(501)]).toEqual([1, 1, 50, 1_000]);
});

test("a soak says how much the memory grew after 200,000 requests", () => {
  const memoryMib = [
    [100_000, 90],
    [200_000, 100],
    [500_000, 104],
  ] as const;
  const text = soakText({ variant: "gateway", requests: 500_000, failures: { "HTTP 500": 3 }, connections: 1, memoryMib, peakMib: 120 });
  expect(text).toContain("over 1 connection(s), 3 failed");
  expect(text).toContain("104 % of that after 200000");
});

test("an adapter at rest is set beside one that was never updated, round by round, and so is another one of those", () => {
  const rest = (p50Us: number, cpuUs: number) => ({ p50Us, p99Us: 2 * p50Us, cpuUs, failures: 0 });
  const taken = {
    limit: [rest(100, 0), rest(200, 0), rest(300, 0)],
    never: [rest(200, 40), rest(300, 40), rest(500, 40)],
    other: [rest(200, 44), rest(400, 40), rest(500, 38)],
    updated: [rest(250, 50), rest(350, 40), rest(400, 60)],
  };
  const figures = restFigures(taken, { requests: 10, failures: 1, onTrial: 4 });
  expect(figures.adapters.updated).toEqual({ p50Us: 350, p99Us: 700, addedP50Us: 150, addedP99Us: 300, cpuUs: 50, failures: 0 });
  expect(figures.ratios.updated.addedP50).toEqual({ median: 1.5, least: 0.5, most: 1.5 });
  expect(figures.ratios.updated.cpu).toEqual({ median: 1.25, least: 1, most: 1.5 });
  expect(figures.ratios.other.addedP50).toEqual({ median: 1, least: 1, most: 2 });
  const text = atRestText(figures);
  expect(text).toContain("during them 10 requests, 1 failed, 4 answered by the content on trial");
  expect(text).toContain("updated twice, beside the first: added p50 1.50x (0.50 to 1.50)");
  expect(sumOf('a{x="1"} 2\nb 9\na{x="2"} 3\n', /^a\{[^}]*\} (\d+)$/gm)).toBe(5);
});

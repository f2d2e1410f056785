import type { ManifestProblem, Snapshot } from "@aibrix/api";
import { afterEach, expect, test, vi } from "vitest";
import { Runtimes } from "./runtimes.ts";

let stop = new AbortController();
afterEach(() => {
  stop.abort();
  stop = new AbortController();
  vi.unstubAllGlobals();
});

/** A manifest for base model c, as the runtime of an engine with another one sees it. */
function notSelected(base: string, wants = "c"): ManifestProblem {
  const message = `podSelector {name: ${wants}} does not match the labels of this engine (name: ${base}): mend it`;
  return { file: "/m/x.yaml", name: "x", reason: "NotSelected", message };
}

function snapshot(base: string | undefined, ...manifest_problems: ManifestProblem[]): Snapshot {
  const engine = { url: "http://e", kind: "vllm", ready: base !== undefined, base_models: base === undefined ? [] : [base] };
  return { instance_id: "i", engine, adapters: [], manifest_problems };
}

type Says = readonly (readonly [engine: 1 | 2, Snapshot])[];

/** Follows two runtimes that say these things in turn, and gives the problems that were told. */
async function told(says: Says): Promise<string[]> {
  const streams = new Map<string, ReadableStreamDefaultController<Uint8Array>>();
  vi.stubGlobal("fetch", async (url: string) => new Response(new ReadableStream({ start: (c) => void streams.set(new URL(url).host, c) })));
  const lines: string[] = [];
  const runtimes = new Runtimes((engine, { subject, state, detail }) => {
    if (state === "Problem") lines.push(`${engine} ${subject} ${detail.replace(/ does not match.*name/, "")}`);
  });
  for (const engine of [1, 2]) void runtimes.follow(`engine-${engine}`, `http://runtime-${engine}`, stop.signal);
  for (const [engine, object] of says) {
    streams.get(`runtime-${engine}`)?.enqueue(Buffer.from(`${JSON.stringify({ type: "SNAPSHOT", object })}\n`));
    const taken = await runtimes.until(
      (v) => JSON.stringify(v.get(`engine-${engine}`)) === JSON.stringify(object),
      AbortSignal.timeout(5_000),
    );
    expect(taken).toBe(true);
  }
  return lines;
}

const broken = { file: "/m/b.yaml", reason: "InvalidManifest", message: "mend the YAML" };

test.each<{ name: string; says: Says; want: string[] }>([
  { name: "an engine that another one may follow", says: [[1, snapshot("a", notSelected("a"))]], want: [] },
  {
    name: "one that has not named its models",
    says: [
      [1, snapshot("a", notSelected("a"))],
      [2, snapshot(undefined)],
    ],
    want: [],
  },
  {
    name: "one that takes it",
    says: [
      [1, snapshot("a", notSelected("a"))],
      [2, snapshot("c")],
    ],
    want: [],
  },
  {
    name: "two that do not",
    says: [
      [1, snapshot("a", notSelected("a"))],
      [2, snapshot("b", notSelected("b"))],
    ],
    want: ["engine-1 x.yaml (x) podSelector {name: c}: a): mend it", "engine-2 x.yaml (x) podSelector {name: c}: b): mend it"],
  },
  {
    name: "two of one model: told once",
    says: [
      [1, snapshot("a", notSelected("a"))],
      [2, snapshot("a", notSelected("a"))],
    ],
    want: ["engine-1 x.yaml (x) podSelector {name: c}: a): mend it"],
  },
  {
    name: "a change that one has not read yet",
    says: [
      [1, snapshot("a")],
      [2, snapshot("b", notSelected("b", "a"))],
      [1, snapshot("a", notSelected("a", "b"))],
      [2, snapshot("b")],
    ],
    want: [],
  },
  {
    name: "another problem: told at once, and once",
    says: [
      [1, snapshot("a", broken)],
      [2, snapshot("b", broken)],
    ],
    want: ["engine-1 b.yaml mend the YAML"],
  },
])("live problems: $name", async ({ says, want }) => {
  expect(await told(says)).toEqual(want);
});

import type { ModelAdapterStatus } from "@aibrix/api";
import { type KubeClient, KubeError, type Log } from "@aibrix/kube";
import { expect, test, vi } from "vitest";
import { StatusWriter, withoutNewer } from "./status-writer.ts";
import type { ModelAdapterObject } from "./types.ts";

const ADAPTER: ModelAdapterObject = {
  apiVersion: "model.aibrix.ai/v1alpha1",
  kind: "ModelAdapter",
  metadata: { name: "x", namespace: "default" },
  spec: { artifactURL: "/one", podSelector: {} },
};
const STATUS = { phase: "Running", lastHandledPromote: "1", lastHandledAbort: "2" } as const;
const silent: Log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };

test("what an older CRD does not have is left out, and nothing else", () => {
  const newer = { contentDigest: "d", resolvedRevision: "r", history: [], adapterRank: { value: 1, generation: 1 } };
  const pods = [{ name: "a", state: "Serving", maxRank: 8 }] as const;
  expect(withoutNewer({ ...STATUS, ...newer, pods: [...pods] })).toEqual({ phase: "Running", pods: [{ name: "a", state: "Serving" }] });
});

test.each([
  { name: "a field", message: ".status.lastHandledAbort: field not declared in schema", stripped: true },
  {
    name: "a word",
    message: 'status.history[0].outcome: Unsupported value: "Aborted": supported values: "Served", "Failed"',
    stripped: true,
  },
  { name: "a word of the spec", message: 'spec.rollout.strategy: Unsupported value: "X"', stripped: false },
])("a status that is refused for $name is written without what is newer: $stripped", async ({ message, stripped }) => {
  const sent: unknown[] = [];
  const client = {
    applyStatus: async (_resource: unknown, { status }: { status?: object }) => {
      sent.push(status);
      if (status !== undefined && "lastHandledAbort" in status) throw new KubeError(message, { status: 422, reason: "Invalid" });
      return ADAPTER;
    },
  } as unknown as KubeClient;
  const writing = new StatusWriter(client, silent).write(ADAPTER, STATUS, AbortSignal.timeout(1_000));
  if (stripped) await writing;
  else await expect(writing).rejects.toThrow("Unsupported value");
  expect(sent).toEqual(stripped ? [STATUS, { phase: "Running" }] : [STATUS]);
});

test.each([
  { name: "only Secrets", lacks: ["secrets"], kept: { contentDigest: "d", served: "/one", update: "/two" } },
  { name: "contents, too", lacks: ["secrets", "contentDigest"], kept: {} },
])("a CRD that lacks $name is given all else, and spared the same for a while", async ({ lacks, kept }) => {
  const [time, of] = ["2026-01-01T00:00:00Z", { secrets: "a.b.c" }];
  const update = { artifactURL: "/two", fingerprint: "f", state: "Preparing", startTime: time, ...of } as const;
  const status = { ...STATUS, contentDigest: "d", served: { artifactURL: "/one", resolvedTime: time, ...of }, update } as const;
  const written: ModelAdapterStatus[] = [];
  let refused = 0;
  const client = {
    applyStatus: async (_resource: unknown, told: { status: ModelAdapterStatus }) => {
      const text = JSON.stringify(told.status);
      const lacking = lacks.find((field) => text.includes(`"${field}"`));
      if (lacking !== undefined) {
        refused += 1;
        throw new KubeError(`.status.${lacking}: field not declared in schema`, { status: 500, reason: "InternalError" });
      }
      written.push(told.status);
      return ADAPTER;
    },
  } as unknown as KubeClient;
  const writer = new StatusWriter(client, silent);
  await writer.write(ADAPTER, status, AbortSignal.timeout(1_000));
  await writer.write(ADAPTER, writer.known(status), AbortSignal.timeout(1_000));
  const shown = written.map((s) => ({ contentDigest: s.contentDigest, served: s.served?.artifactURL, update: s.update?.artifactURL }));
  expect(JSON.parse(JSON.stringify(shown))).toEqual([kept, kept]);
  expect(refused).toBe(lacks.length);
});

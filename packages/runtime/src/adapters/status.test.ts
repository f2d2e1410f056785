import { AdapterStatusSchema } from "@aibrix/api";
import { Value } from "typebox/value";
import { expect, test } from "vitest";
import { ENGINE_UNSEEN, type EngineView } from "../engine/observer.ts";
import type { Declaration } from "./declaration.ts";
import type { Facts } from "./plan.ts";
import { adapterStatus, type Shown } from "./status.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const NEW = { path: "/store/a/new", digest: "sha256:new", revision: "abc" };
const OLD = { path: "/store/a/old", digest: "sha256:old" };

const facts: Facts = {
  name: "a",
  removing: false,
  drainUntilMs: undefined,
  hold: undefined,
  lacksKey: false,
  fetching: false,
  wanted: undefined,
  fallback: undefined,
  ownPaths: new Set(),
  unproven: new Set(),
  mayReplaceBy: undefined,
  failure: undefined,
  fallbackFailure: undefined,
};
const declaration: Declaration = {
  name: "a",
  url: "/models/a",
  credentials: { huggingface_token: "hf_secret" },
  apiKey: "sk-secret",
  origin: "api",
  lacksKey: false,
  restored: false,
  revision: "",
  hold: undefined,
  baseModel: undefined,
};
const shown: Shown = {
  declaration,
  facts,
  busyWithEngine: false,
  queuedForDownload: false,
  download: undefined,
  attempts: 0,
  trainedOn: undefined,
  refetches: false,
  maxRank: undefined,
  timings: {},
  prepared: undefined,
  waitsSinceMs: undefined,
  gaveUp: false,
  probed: undefined,
  serving: undefined,
};
const ready: EngineView = {
  ready: true,
  message: undefined,
  models: new Map([["a", { id: "a", root: OLD.path, parent: "base", raw: {} }]]),
  unauthorized: false,
  baseModels: ["base"],
  bootId: "1",
};
const empty: EngineView = { ...ready, models: new Map() };
const servingOld = { path: OLD.path, digest: OLD.digest, sinceMs: NOW };
const servingNew = { path: NEW.path, digest: NEW.digest, sinceMs: NOW };
const refused = { step: "load", reason: "EngineRefused", message: "no", retryable: false, cause: undefined, retryAtMs: undefined } as const;
const unreachable = {
  step: "fetch",
  reason: "ArtifactUnavailable",
  message: "no",
  retryable: true,
  cause: "ECONNREFUSED",
  retryAtMs: NOW + 1000,
} as const;

test.each<{ name: string; given: Partial<Shown>; engine?: EngineView; want: object }>([
  {
    name: "a download that waits its turn",
    given: { facts: { ...facts, fetching: true }, queuedForDownload: true },
    want: { state: "Pending", serving: null },
  },
  {
    name: "a download",
    given: { facts: { ...facts, fetching: true }, download: { bytes: 5, totalBytes: 10, bytesPerSecond: 2 } },
    want: { state: "Downloading", download: { bytes: 5, total_bytes: 10, bytes_per_second: 2 } },
  },
  {
    name: "a load",
    given: { facts: { ...facts, wanted: NEW }, busyWithEngine: true },
    want: { state: "Loading", content_digest: NEW.digest, resolved_revision: "abc" },
  },
  {
    name: "an adapter that waits for the engine",
    given: { facts: { ...facts, wanted: NEW } },
    engine: ENGINE_UNSEEN,
    want: { state: "Pending", reason: "EngineUnavailable", retryable: true },
  },
  {
    name: "an adapter that waits for a key",
    given: { facts: { ...facts, wanted: NEW, lacksKey: true } },
    want: { state: "Failed", reason: "EngineUnauthorized", retryable: false },
  },
  {
    name: "an adapter that serves",
    given: { facts: { ...facts, wanted: NEW }, serving: servingNew },
    want: { state: "Serving", serving: { content_digest: NEW.digest, path: NEW.path, since: "2026-01-01T00:00:00.000Z" } },
  },
  {
    name: "an update that is being fetched",
    given: { facts: { ...facts, fetching: true, fallback: OLD }, serving: servingOld },
    engine: ready,
    want: { state: "Updating", serving: { content_digest: OLD.digest } },
  },
  {
    name: "an update that the engine refused: the old content serves on, and is no part of what the message says",
    given: {
      facts: { ...facts, wanted: NEW, fallback: OLD, ownPaths: new Set([OLD.path]), failure: refused },
      serving: servingOld,
      attempts: 1,
    },
    engine: ready,
    want: {
      state: "Failed",
      reason: "EngineRefused",
      retryable: false,
      attempts: 1,
      message: "no",
      serving: { content_digest: OLD.digest },
    },
  },
  {
    name: "the moment of a swap without either",
    given: { facts: { ...facts, wanted: NEW, fallback: OLD, ownPaths: new Set([OLD.path]) }, gaveUp: true, busyWithEngine: true },
    engine: empty,
    want: { state: "Loading", swapping: true, serving: null },
  },
  {
    name: "an update that the engine refused, while the old content is put back",
    given: { facts: { ...facts, wanted: NEW, fallback: OLD, ownPaths: new Set([OLD.path]), failure: refused }, gaveUp: true },
    engine: empty,
    want: { state: "Failed", reason: "EngineRefused", swapping: true, serving: null },
  },
  {
    name: "a failure that is tried again",
    given: { facts: { ...facts, failure: unreachable }, attempts: 2 },
    want: {
      state: "Failed",
      reason: "ArtifactUnavailable",
      retryable: true,
      cause: "ECONNREFUSED",
      attempts: 2,
      next_retry_time: "2026-01-01T00:00:01.000Z",
    },
  },
  {
    name: "a missing Secret",
    given: { facts: { ...facts, hold: { reason: "SecretNotFound", message: "no Secret" } } },
    want: { state: "Failed", reason: "SecretNotFound", message: "no Secret", retryable: false },
  },
  {
    name: "the rank, and how long things took",
    given: { maxRank: 32, timings: { downloadMs: 12.6 }, facts: { ...facts, wanted: NEW }, busyWithEngine: true },
    want: { state: "Loading", max_rank: 32, timings: { download_ms: 13 } },
  },
  {
    name: "content that is listed and has not answered yet",
    given: { facts: { ...facts, wanted: NEW, ownPaths: new Set([NEW.path]), unproven: new Set([NEW.path]) } },
    engine: { ...ready, models: new Map([["a", { id: "a", root: NEW.path, parent: "base", raw: {} }]]) },
    want: { state: "Loading", serving: null },
  },
  {
    name: "what goes on serving while its requests end",
    given: { facts: { ...facts, removing: true, drainUntilMs: NOW + 1 }, serving: servingNew },
    want: { state: "Draining", serving: { path: NEW.path } },
  },
  {
    name: "files that are gone and fetched again while it serves",
    given: { refetches: true, facts: { ...facts, fetching: true }, serving: servingNew },
    want: { state: "Serving", message: expect.stringContaining("fetched again before the engine needs them") },
  },
  { name: "a removal", given: { facts: { ...facts, removing: true } }, want: { state: "Draining" } },
  {
    name: "another base model than the engine's",
    given: { declaration: { ...declaration, baseModel: "llama" }, facts: { ...facts, wanted: NEW }, serving: servingNew },
    want: { state: "Serving", message: 'warning: spec.baseModel is "llama", the engine serves base' },
  },
  {
    name: "an adapter that was trained on another model",
    given: { trainedOn: "org/llama", facts: { ...facts, wanted: NEW }, serving: servingNew },
    engine: { ...ready, models: new Map([["base", { id: "base", root: "Qwen/Qwen2.5", parent: undefined, raw: {} }]]) },
    want: { state: "Serving", message: "warning: the adapter was trained on org/llama, the engine serves Qwen/Qwen2.5" },
  },
])("shows $name", ({ given, engine = empty, want }) => {
  const status = adapterStatus({ ...shown, ...given }, engine, NOW, (ms) => ms);
  expect(status).toMatchObject(want);
  expect([...Value.Errors(AdapterStatusSchema, status)]).toEqual([]);
  expect(JSON.stringify(status)).not.toMatch(/secret/);
});

test("where the old content is refused, too, nobody waits for it", () => {
  const failed = { ...facts, wanted: NEW, fallback: OLD, ownPaths: new Set([OLD.path]), failure: refused, fallbackFailure: refused };
  const status = adapterStatus({ ...shown, facts: failed, gaveUp: true }, empty, NOW, (ms) => ms);
  expect([status.state, status.swapping]).toEqual(["Failed", undefined]);
});

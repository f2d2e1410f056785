import { expect, test } from "vitest";
import type { EngineModel } from "../engine/engine.ts";
import { ENGINE_UNSEEN, type EngineView } from "../engine/observer.ts";
import { type Facts, type Failure, nextRetryMs, plan, type Step } from "./plan.ts";

const NOW = 1_000_000;
const OLD = { path: "/store/a/old", digest: "sha256:old" };
const NEW = { path: "/store/a/new", digest: "sha256:new" };

const base: Facts = {
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

function engine(adapters: Readonly<Record<string, string>> = {}): EngineView {
  const entries = [
    { id: "base", root: "/models/base", parent: undefined },
    ...Object.entries(adapters).map(([id, root]) => ({ id, root, parent: "base" })),
  ].map((m): [string, EngineModel] => [m.id, { ...m, raw: {} }]);
  return { ready: true, message: undefined, models: new Map(entries), unauthorized: false, baseModels: ["base"], bootId: "1" };
}

const unauthorized: EngineView = { ...engine(), models: undefined, unauthorized: true, message: "wants a key" };

function failed(step: Failure["step"], retryAtMs?: number): Failure {
  return { step, reason: "EngineRefused", message: "no", retryable: retryAtMs !== undefined, cause: undefined, retryAtMs };
}

function short(step: Step): string {
  if (step.kind === "load") return `load ${step.content.path}${step.replaces === undefined ? "" : ` for ${step.replaces}`}`;
  if (step.kind === "probe") return `probe ${step.content.path}`;
  return step.kind === "blocked" ? `blocked ${step.problem.reason}` : step.kind;
}

const own = (...paths: string[]) => ({ ownPaths: new Set(paths) });
const unproven = (...paths: string[]) => ({ unproven: new Set(paths) });

test.each<{ name: string; given: Partial<Facts>; engine?: EngineView; want: string }>([
  { name: "fetches what is not here", given: {}, want: "fetch" },
  { name: "fetches while the engine is away", given: {}, engine: ENGINE_UNSEEN, want: "fetch" },
  { name: "does not fetch twice", given: { fetching: true }, want: "idle" },
  { name: "waits for a missing Secret", given: { hold: { reason: "SecretNotFound", message: "" } }, want: "blocked SecretNotFound" },
  { name: "loads what is here", given: { wanted: NEW }, want: "load /store/a/new" },
  { name: "waits for an engine that is away", given: { wanted: NEW }, engine: ENGINE_UNSEEN, want: "blocked EngineUnavailable" },
  {
    name: "waits for a key that lists the engine's models",
    given: { wanted: NEW },
    engine: unauthorized,
    want: "blocked EngineUnauthorized",
  },
  { name: "waits for a key that a restart has lost", given: { wanted: NEW, lacksKey: true }, want: "blocked EngineUnauthorized" },
  {
    name: "has it answer a request once it is listed first",
    given: { wanted: NEW, ...own(NEW.path), ...unproven(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "probe /store/a/new",
  },
  {
    name: "fetches new content before it asks for an answer under the old one",
    given: { fallback: OLD, ...own(OLD.path), ...unproven(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "fetch",
  },
  {
    name: "asks for an answer under the old content while the new is fetched",
    given: { fallback: OLD, fetching: true, ...own(OLD.path), ...unproven(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "probe /store/a/old",
  },
  {
    name: "waits before it asks for another answer",
    given: { wanted: NEW, ...own(NEW.path), ...unproven(NEW.path), failure: failed("probe", NOW + 1) },
    engine: engine({ a: NEW.path }),
    want: "idle",
  },
  {
    name: "leaves content that does not answer where it is, whatever served before",
    given: { wanted: NEW, fallback: OLD, ...own(OLD.path, NEW.path), ...unproven(NEW.path), failure: failed("probe", NOW + 1) },
    engine: engine({ a: NEW.path }),
    want: "idle",
  },
  {
    name: "asks again for an answer when it is time",
    given: { wanted: NEW, fallback: OLD, ...own(OLD.path, NEW.path), ...unproven(NEW.path), failure: failed("probe", NOW) },
    engine: engine({ a: NEW.path }),
    want: "probe /store/a/new",
  },
  {
    name: "leaves older content that does not answer where it is",
    given: { fallback: OLD, fetching: true, ...own(OLD.path), ...unproven(OLD.path), fallbackFailure: failed("probe", NOW + 1) },
    engine: engine({ a: OLD.path }),
    want: "idle",
  },
  {
    name: "loads again what the engine lost before it answered",
    given: { wanted: NEW, fallback: OLD, ...own(NEW.path), ...unproven(NEW.path), failure: failed("probe", NOW + 1) },
    want: "load /store/a/new",
  },
  {
    name: "needs the key for that which a restart has lost",
    given: { wanted: NEW, lacksKey: true, ...own(NEW.path), ...unproven(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "blocked EngineUnauthorized",
  },
  {
    name: "unloads what has not answered yet",
    given: { removing: true, ...own(NEW.path), ...unproven(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "unload",
  },
  { name: "is idle once it serves", given: { wanted: NEW, ...own(NEW.path) }, engine: engine({ a: NEW.path }), want: "idle" },
  {
    name: "is idle once it serves, though the key is lost",
    given: { wanted: NEW, lacksKey: true },
    engine: engine({ a: NEW.path }),
    want: "idle",
  },
  { name: "loads again what the engine lost", given: { wanted: NEW, fallback: NEW, ...own(NEW.path) }, want: "load /store/a/new" },
  {
    name: "waits until older content of its own may be replaced",
    given: { wanted: NEW, fallback: OLD, ...own(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "awaitSwap",
  },
  {
    name: "goes on waiting where other content might have taken its place",
    given: { wanted: NEW, fallback: OLD, mayReplaceBy: "/store/a/newer", ...own(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "awaitSwap",
  },
  {
    name: "replaces older content of its own",
    given: { wanted: NEW, fallback: OLD, mayReplaceBy: NEW.path, ...own(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "load /store/a/new for /store/a/old",
  },
  {
    name: "replaces at once what has never answered",
    given: { wanted: NEW, ...own(OLD.path), ...unproven(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "load /store/a/new for /store/a/old",
  },
  {
    name: "fetches new content while the old one serves",
    given: { fallback: OLD, ...own(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "fetch",
  },
  { name: "puts the old content back before it fetches the new", given: { fallback: OLD, ...own(OLD.path) }, want: "load /store/a/old" },
  {
    name: "fetches while the old content waits for the engine",
    given: { fallback: OLD, ...own(OLD.path) },
    engine: ENGINE_UNSEEN,
    want: "fetch",
  },
  {
    name: "puts the old content back where the new one was refused",
    given: { wanted: NEW, fallback: OLD, failure: failed("load"), ...own(OLD.path, NEW.path) },
    want: "load /store/a/old",
  },
  {
    name: "leaves the old content alone where the new one was refused",
    given: { wanted: NEW, fallback: OLD, failure: failed("load"), ...own(OLD.path) },
    engine: engine({ a: OLD.path }),
    want: "idle",
  },
  {
    name: "gives up on old content that is refused, too",
    given: { wanted: NEW, fallback: OLD, failure: failed("load"), fallbackFailure: failed("load"), ...own(OLD.path) },
    want: "idle",
  },
  {
    name: "does not take refused content for its own fallback",
    given: { wanted: NEW, fallback: NEW, failure: failed("load"), ...own(NEW.path) },
    want: "idle",
  },
  { name: "does not repeat what cannot work", given: { failure: failed("fetch") }, want: "idle" },
  { name: "waits for its next try", given: { failure: failed("fetch", NOW + 1) }, want: "idle" },
  { name: "tries again when it is time", given: { failure: failed("fetch", NOW) }, want: "fetch" },
  { name: "loads again when it is time", given: { wanted: NEW, failure: failed("load", NOW) }, want: "load /store/a/new" },
  { name: "leaves somebody else's adapter alone", given: { wanted: NEW }, engine: engine({ a: "/other" }), want: "blocked NameConflict" },
  { name: "cannot take a base model's name", given: { name: "base", wanted: NEW }, engine: engine(), want: "blocked NameConflict" },
  { name: "unloads what it loaded", given: { removing: true, ...own(NEW.path) }, engine: engine({ a: NEW.path }), want: "unload" },
  {
    name: "unloads what it loaded before, too",
    given: { removing: true, ...own(OLD.path, NEW.path) },
    engine: engine({ a: OLD.path }),
    want: "unload",
  },
  {
    name: "lets requests end before it unloads",
    given: { removing: true, drainUntilMs: NOW + 1, ...own(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "idle",
  },
  {
    name: "unloads when they have had their time",
    given: { removing: true, drainUntilMs: NOW, ...own(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "unload",
  },
  {
    name: "does not wait for requests of what is gone",
    given: { removing: true, drainUntilMs: NOW + 1, ...own(NEW.path) },
    want: "forget",
  },
  { name: "is done once it is gone", given: { removing: true, ...own(NEW.path) }, want: "forget" },
  { name: "is done where nothing was loaded", given: { removing: true }, engine: ENGINE_UNSEEN, want: "forget" },
  {
    name: "waits with the removal for the engine",
    given: { removing: true, ...own(NEW.path) },
    engine: ENGINE_UNSEEN,
    want: "blocked EngineUnavailable",
  },
  {
    name: "never unloads somebody else's adapter",
    given: { removing: true, ...own(NEW.path) },
    engine: engine({ a: "/other" }),
    want: "forget",
  },
  {
    name: "waits before it tries the unload again",
    given: { removing: true, failure: failed("unload", NOW + 1), ...own(NEW.path) },
    engine: engine({ a: NEW.path }),
    want: "idle",
  },
])("plan $name", ({ given, engine: view = engine(), want }) => {
  expect(short(plan({ ...base, ...given }, view, NOW))).toBe(want);
});

test.each([
  { name: "none", given: {}, want: undefined },
  { name: "of a final failure", given: { failure: failed("load") }, want: undefined },
  { name: "the end of a drain", given: { removing: true, drainUntilMs: NOW + 7 }, want: NOW + 7 },
  { name: "of a retryable one", given: { failure: failed("load", NOW + 5) }, want: NOW + 5 },
  { name: "the earlier of two", given: { failure: failed("load", NOW + 9), fallbackFailure: failed("load", NOW + 5) }, want: NOW + 5 },
])("the next try: $name", ({ given, want }) => {
  expect(nextRetryMs({ ...base, ...given }, NOW)).toBe(want);
});

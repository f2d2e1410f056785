import type { Snapshot } from "@aibrix/api";
import { expect, test } from "vitest";
import { commandTexts, shellWord, shortPath } from "./commands.ts";
import { changeLine, partLine } from "./lines.ts";
import { nextSteps } from "./next-steps.ts";
import { saysPortTaken } from "./ports.ts";
import type { StackStatus } from "./status.ts";
import { statusText } from "./status-text.ts";
import { span } from "./time.ts";

const commands = commandTexts("/w/.aibrix", "/w/.aibrix");

test("commands name the state folder where it is not the default one", () => {
  expect(commands.stop).toBe("npm run stop");
  expect(commandTexts("/tmp/my stack", "/w/.aibrix").stop).toBe("npm run stop -- --dir '/tmp/my stack'");
});

test.each([
  ["plain/path-1.txt", "plain/path-1.txt"],
  ["it's", "'it'\\''s'"],
  ["$(x)", "'$(x)'"],
])("a shell reads %s as one word", (word, want) => {
  expect(shellWord(word)).toBe(want);
});

test("a path below the current folder is said from there", () => {
  expect(shortPath("/w/a/b", "/w")).toBe("a/b");
  expect(shortPath("/x", "/w")).toBe("/x");
  expect(shortPath("/w", "/w")).toBe(".");
});

test.each([
  [400, "0.4 s"],
  [61_000, "1m 1s"],
  [7_260_000, "2h 1m"],
])("%s ms read %s", (ms, want) => {
  expect(span(ms)).toBe(want);
});

test("lines about parts and adapters", () => {
  const at = { url: "http://u", log: "l.log" };
  expect(partLine("hub", { kind: "ready", afterMs: 300, again: false }, at)).toBe("hub ready after 0.3 s  http://u");
  expect(partLine("hub", { kind: "exited", how: "was ended by SIGKILL", restartInMs: 200 }, at)).toBe(
    "hub was ended by SIGKILL; it is started again in 0.2 s  (log: l.log)",
  );
  expect(changeLine("engine-1", { subject: "sql", state: "Failed", detail: "why" })).toMatch(/^sql +engine-1 +Failed +why$/);
  expect(changeLine("engine-1", { subject: "engine", state: "Ready", detail: "" })).toMatch(/^engine-1 +Ready$/);
});

test("what to type next: both kinds of model, the key by its file and never by its text", () => {
  const lines = nextSteps({
    gateway: "http://127.0.0.1:1",
    baseModel: "base",
    adapter: "sql",
    apiKeyFile: "/k ey",
    adaptersDir: "samples/adapter",
    hub: "http://hub",
    s3Example: "s3://models/adapters/sql-lora",
    commands,
    detached: true,
  }).join("\n");
  expect(lines).toContain("curl http://127.0.0.1:1/v1/completions");
  expect(lines).toContain(`-d '{"model":"base","prompt":"San Francisco is a","max_tokens":16,"temperature":0}'`);
  expect(lines).toContain(`"model":"sql"`);
  expect(lines).toContain(`Bearer $(cat '/k ey')`);
  expect(lines).toContain("artifactURL: s3://models/adapters/sql-lora");
  expect(lines).toContain("npm run stop");
  expect(lines).not.toContain("Ctrl-C");
});

test.each([
  ["Error: listen EADDRINUSE: address already in use 127.0.0.1:1", true],
  ["cannot bind '127.0.0.1:1': Address already in use", true],
  ["[Errno 98] error while attempting to bind on address", true],
  ["listening on 127.0.0.1:1", false],
])("%s: a taken port is %s", (line, want) => {
  expect(saysPortTaken(["before", line])).toBe(want);
});

test("status shows parts, engines, adapters and problems", () => {
  const snapshot: Snapshot = {
    instance_id: "i",
    engine: { url: "http://e", kind: "vllm", ready: true, base_models: ["base"] },
    adapters: [{ lora_name: "sql", artifact_url: "/a", origin: "manifest", state: "Failed", serving: null, attempts: 1, message: "why" }],
    manifest_problems: [
      { file: "b.yaml", reason: "Invalid", message: "mend it" },
      {
        file: "c.yaml",
        name: "x",
        reason: "NotSelected",
        message: "podSelector {a: b} does not match the labels of this engine (): mend it",
      },
    ],
  };
  const status: StackStatus = {
    state: "ready",
    dir: "/w/.aibrix",
    stack: {
      mode: "standalone",
      gateway: "http://g",
      engine: "mock",
      engines: [{ url: "http://e", runtime: "http://r" }],
      hub: "http://h",
    },
    parts: [
      { name: "supervisor", pid: 10, alive: true, since: "2026-01-01T00:00:00Z" },
      { name: "envoy", pid: 11, alive: false, since: "2026-01-01T00:00:00Z", url: "http://g" },
    ],
    engines: [
      { name: "engine-1", url: "http://e", runtime: "http://r", snapshot },
      { name: "engine-2", url: "http://f", runtime: "http://s" },
    ],
  };
  expect(statusText(status, commands, new Date("2026-01-01T00:01:05Z"))).toBe(`http://g  ready, engine mock, in /w/.aibrix

PART        PID  UP     URL
supervisor  10   1m 5s
envoy       11   down   http://g

ENGINE    STATE    BASE MODELS  URL
engine-1  Ready    base         http://e
engine-2  Unknown               http://f  its runtime does not answer; it is started again by itself

ADAPTER  ENGINE    STATE
sql      engine-1  Failed  why

PROBLEMS
  b.yaml: mend it
  c.yaml (x): podSelector {a: b} does not match the labels of this engine (): mend it`);
  const second = { ...snapshot, manifest_problems: [] };
  const engines = [snapshot, second].map((s, i) => ({ name: `engine-${i + 1}`, url: "http://e", runtime: "http://r", snapshot: s }));
  expect(statusText({ ...status, engines }, commands, new Date())).not.toContain("podSelector");
});

test("status of a cluster shows nodes, the platform's pods that are not Ready and every ModelAdapter", () => {
  const status: StackStatus = {
    state: "degraded",
    dir: "/d",
    stack: { mode: "kubernetes", cluster: "node", gateway: "http://g", kubeconfig: "/k", kubectl: "/b", engine: "mock" },
    parts: [],
    engines: [],
    cluster: {
      nodes: [{ name: "aibrix", ready: true, message: "" }],
      pods: [{ pod: "aibrix-dev/hub-1", container: "hub", state: "CrashLoopBackOff", message: "ended 3 times" }],
      adapters: [{ namespace: "default", name: "sql", phase: "Running", reason: "ModelAdapterAvailable", message: "is ready" }],
    },
  };
  expect(statusText(status, commands, new Date())).toBe(`http://g  not everything is Ready, Kubernetes (node), engine mock, in /d

NODE    STATE
aibrix  Ready

POD               CONTAINER  STATE
aibrix-dev/hub-1  hub        CrashLoopBackOff  ended 3 times

MODELADAPTER  PHASE    REASON
default/sql   Running  ModelAdapterAvailable  is ready`);
  const away = { nodes: [], pods: [], adapters: [], problem: "connection refused" };
  expect(statusText({ ...status, cluster: away }, commands, new Date())).toContain("The cluster does not answer: connection refused");
});

test.each([
  { state: "stopped", says: /No stack runs in \/d. Start one with: npm start/ },
  { state: "stale", says: /was killed. End what it left with: npm run stop/ },
  { state: "starting", says: /is not ready/ },
] as const)("status of a stack that is $state says what to do", ({ state, says }) => {
  expect(statusText({ state, dir: "/d", parts: [], engines: [] }, commands, new Date())).toMatch(says);
});

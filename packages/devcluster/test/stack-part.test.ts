import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Part, type PartEvent, PartFailed, type PartSpec } from "../src/stack/part.ts";
import { groupMembers, identify, isAlive } from "../src/stack/process-id.ts";
import type { RunPart } from "../src/stack/run-file.ts";
import { Supervisor } from "../src/stack/supervisor.ts";
import { until } from "../src/stack/time.ts";

const WAIT_MS = 20_000;
const RUN_FOREVER = "setInterval(() => {}, 1000);";

let dir: string;
let events: string[];
let output: string;
let recorded: Map<string, RunPart | undefined>;
const parts: Part[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "aibrix-part-"));
  events = [];
  output = "";
  recorded = new Map();
});
afterEach(async () => {
  await Promise.all(parts.splice(0).map((p) => p.stop()));
  rmSync(dir, { recursive: true, force: true });
});

const deps = () => ({
  stackDir: dir,
  record: (name: string, process: RunPart | undefined) => void recorded.set(name, process),
  log: (_: string, chunk: Uint8Array | string) => {
    output += Buffer.from(chunk).toString();
  },
  report: ({ name }: PartSpec, event: PartEvent) => {
    events.push(`${name} ${event.kind === "ready" ? (event.again ? "back" : "ready") : event.how}`);
  },
});

/** A fake program that is ready as soon as it has written the file `ready`. */
function spec(script: string, more: Partial<PartSpec> = {}): PartSpec {
  const ready = join(dir, `${more.name ?? "fake"}-ready`);
  return {
    name: "fake",
    command: process.execPath,
    args: ["-e", script, ready],
    env: {},
    url: "http://127.0.0.1:1",
    ready: async (signal) => {
      if (!(await until(() => existsSync(ready), 10, signal))) throw signal.reason;
    },
    readyWithinMs: WAIT_MS,
    graceMs: 300,
    stopOrder: 0,
    ...more,
  };
}

const TELL_READY = `require("node:fs").writeFileSync(process.argv[1], String(process.pid));`;

function start(given: PartSpec): Part {
  const part = new Part(given, deps());
  parts.push(part);
  part.start();
  return part;
}

const eventually = async (check: () => boolean) => expect(await until(check, 10, AbortSignal.timeout(WAIT_MS))).toBe(true);

test("a part is ready when its probe says so, findable while it runs, and gone after stop", async () => {
  const part = start(spec(`console.log("hello"); ${TELL_READY} ${RUN_FOREVER}`));
  await part.ready;
  const id = recorded.get("fake");
  expect(id?.pid).toBe(part.pid);
  expect(id !== undefined && isAlive(id)).toBe(true);
  await part.stop();
  expect(output).toContain("hello");
  expect(events).toEqual(["fake ready"]);
  expect(recorded.get("fake")).toBeUndefined();
  expect(id !== undefined && isAlive(id)).toBe(false);
});

test("a part that is killed is started again, and is back", async () => {
  const part = start(spec(`${TELL_READY} ${RUN_FOREVER}`));
  await part.ready;
  const first = part.pid ?? 0;
  rmSync(join(dir, "fake-ready"));
  process.kill(first, "SIGKILL");
  await eventually(() => events.includes("fake back"));
  expect(part.pid).not.toBe(first);
  expect(events).toEqual(["fake ready", "fake was ended by SIGKILL", "fake back"]);
});

test("what a killed part leaves in its group is gone before it is started again", async () => {
  const child = join(dir, "child");
  const script = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(`require("node:fs").writeFileSync(process.argv[1], String(process.pid)); ${RUN_FOREVER}`)}, ${JSON.stringify(child)}], { stdio: "ignore" });
    const t = setInterval(() => { if (require("node:fs").existsSync(${JSON.stringify(child)})) { clearInterval(t); ${TELL_READY} } }, 10); ${RUN_FOREVER}`;
  const part = start(spec(script));
  await part.ready;
  const grandchild = identify(Number(readFileSync(child, "utf8")));
  if (grandchild === undefined) throw new Error("the grandchild has ended by itself");
  rmSync(join(dir, "fake-ready"));
  rmSync(child);
  process.kill(part.pid ?? 0, "SIGKILL");
  await eventually(() => events.includes("fake back"));
  expect(isAlive(grandchild)).toBe(false);
});

test("a part that does not heed SIGTERM is killed with its whole group after its grace", async () => {
  const part = start(spec(`process.on("SIGTERM", () => console.log("asked")); ${TELL_READY} ${RUN_FOREVER}`));
  await part.ready;
  const group = part.pid ?? 0;
  await part.stop();
  expect(output).toContain("asked");
  expect(groupMembers(group)).toEqual([]);
});

test("a part that ends twice before it was ever ready is given up with the cause", async () => {
  const part = start(spec(`process.exit(7)`));
  await expect(part.ready).rejects.toThrow(new PartFailed("fake", "ended with exit code 7"));
  expect(events).toEqual(["fake ended with exit code 7"]);
});

test.each([
  { name: "settings that cannot be used", given: spec.bind(undefined, "process.exit(2)"), says: "ended with exit code 2" },
  { name: "a program that is not there", given: () => spec("", { command: "/does/not/exist" }), says: "could not be started" },
])("is given up at once: $name", async ({ given, says }) => {
  const part = start(given());
  await expect(part.ready).rejects.toThrow(says);
  expect(events).toEqual([]);
});

test("a stop while the part waits to be started again ends it", async () => {
  const part = start(spec(`${TELL_READY} ${RUN_FOREVER}`));
  await part.ready;
  process.kill(part.pid ?? 0, "SIGKILL");
  await eventually(() => events.includes("fake was ended by SIGKILL"));
  await part.stop();
  expect(recorded.get("fake")).toBeUndefined();
});

test("a variable that is undefined is taken away; the stack's folder is in every part's environment", async () => {
  process.env.AIBRIX_TEST_GONE = "here";
  try {
    const script = `console.log(process.env.AIBRIX_TEST_GONE, process.env.AIBRIX_TEST_SET, process.env.AIBRIX_STACK_DIR); ${TELL_READY} ${RUN_FOREVER}`;
    await start(spec(script, { env: { AIBRIX_TEST_GONE: undefined, AIBRIX_TEST_SET: "set" } })).ready;
    await eventually(() => output.includes("\n"));
    expect(output).toBe(`undefined set ${dir}\n`);
  } finally {
    delete process.env.AIBRIX_TEST_GONE;
  }
});

test("parts are ended in order: a lower number is gone before the next is asked", async () => {
  const supervisor = new Supervisor(deps());
  const script = (name: string) =>
    `process.on("SIGTERM", () => { require("node:fs").appendFileSync(${JSON.stringify(join(dir, "order"))}, ${JSON.stringify(`${name} `)}); process.exit(0); }); ${TELL_READY} ${RUN_FOREVER}`;
  writeFileSync(join(dir, "order"), "");
  const order = [
    ["engine", 3],
    ["envoy", 0],
    ["gateway", 1],
    ["runtime", 2],
  ] as const;
  const started = order.map(([name, stopOrder]) => supervisor.start(spec(script(name), { name, stopOrder, graceMs: WAIT_MS })));
  await Promise.all(started.map((p) => p.ready));
  await supervisor.stop();
  expect(readFileSync(join(dir, "order"), "utf8")).toBe("envoy gateway runtime engine ");
});

test("kill ends all parts without waiting for them", async () => {
  const supervisor = new Supervisor(deps());
  const part = supervisor.start(spec(`process.on("SIGTERM", () => {}); ${TELL_READY} ${RUN_FOREVER}`, { graceMs: WAIT_MS }));
  await part.ready;
  const id = recorded.get("fake");
  supervisor.kill();
  await eventually(() => id !== undefined && !isAlive(id));
  await supervisor.stop();
});

import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { createServer } from "node:net";
import type { WatchEvent } from "@aibrix/api";
import { writeAdapter } from "@aibrix/devcluster";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runProgram, stopPrograms } from "./support/program.ts";
import { eventually, World } from "./support/world.ts";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(async () => {
  await stopPrograms();
  world.remove();
});

/** A reader of the watch: what came so far, and whether it has ended. */
async function watch(url: string) {
  const call = request(`${url}/v1/lora_adapters?watch=true`);
  call.end();
  const [response] = (await once(call, "response")) as [IncomingMessage];
  let text = "";
  const state = {
    ended: false,
    headers: response.headers,
    events: (): WatchEvent[] =>
      text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as WatchEvent),
  };
  response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  response.on("end", () => (state.ended = true));
  return state;
}

test("the watch shows a snapshot, every change and that it lives, and ends cleanly with the process", async () => {
  const engine = await world.engine();
  await writeAdapter(world.path("one"), { seed: 1 });
  const runtime = await world.runtime(engine.url);
  const reader = await watch(runtime.url);
  await eventually(() =>
    expect(reader.events()[0]).toMatchObject({
      type: "SNAPSHOT",
      object: { instance_id: expect.any(String), adapters: [], manifest_problems: [] },
    }),
  );
  expect(reader.headers["content-type"]).toBe("application/x-ndjson");
  await runtime.load("a", world.path("one"));
  await eventually(() =>
    expect(reader.events()).toContainEqual(
      expect.objectContaining({ type: "ADAPTER", object: expect.objectContaining({ lora_name: "a", state: "Serving" }) }),
    ),
  );
  await engine.kill();
  await eventually(() =>
    expect(reader.events()).toContainEqual(expect.objectContaining({ type: "ENGINE", object: expect.objectContaining({ ready: false }) })),
  );
  expect(reader.events().findLast((e) => e.type === "ADAPTER")).toMatchObject({ object: { serving: null } });
  await eventually(() => expect(reader.events()).toContainEqual({ type: "BOOKMARK" }));
  expect(await runtime.program.stop()).toBe(0);
  await eventually(() => expect(reader.ended).toBe(true));
});

test("SIGTERM ends a running download, and leaves adapters in the engine", async () => {
  const silent = createServer((socket) => void socket.on("error", () => undefined));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = silent.address() as { port: number };
    const engine = await world.engine();
    await writeAdapter(world.path("one"), { seed: 1 });
    const runtime = await world.runtime(engine.url, { env: { HF_ENDPOINT: `http://127.0.0.1:${port}` } });
    await runtime.load("a", world.path("one"));
    await runtime.serves("a");
    await runtime.load("slow", "hf://acme/slow");
    await runtime.until("slow", { state: "Downloading" });
    expect(await runtime.program.stop()).toBe(0);
    expect((await fetch(`${engine.url}/v1/models`).then((r) => r.text())).includes('"id":"a"')).toBe(true);
  } finally {
    silent.close();
  }
});

test("--help tells every flag, and ends with 0", async () => {
  const { code, output } = await runProgram("runtime", ["--help"]);
  expect(code).toBe(0);
  expect(output).toMatch(/^aibrix_runtime: .*--adapters-dir=DIR.*INFERENCE_ENGINE_ENDPOINT/s);
});

test.each([
  { name: "an engine that nobody supports", args: [], env: { INFERENCE_ENGINE: "sglang" }, says: /INFERENCE_ENGINE=sglang: .*write vllm/ },
  { name: "a flag that is none", args: ["--prot=1"], env: {}, says: /--prot.*--help/s },
  {
    name: "a folder that cannot be made",
    args: ["--artifacts-dir=/dev/null/nothing"],
    env: {},
    says: /--artifacts-dir=\/dev\/null\/nothing cannot be used/,
  },
])("$name ends the start with 2 and a sentence", async ({ args, env, says }) => {
  const { code, output } = await runProgram("runtime", ["--port=0", `--artifacts-dir=${world.artifacts}`, ...args], env);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(says) });
  expect(output).not.toContain("    at ");
});

test("a port that is taken ends the start with 2", async () => {
  const engine = await world.engine();
  const { code, output } = await runProgram("runtime", [
    `--port=${new URL(engine.url).port}`,
    "--host=127.0.0.1",
    `--artifacts-dir=${world.artifacts}`,
  ]);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining("something else listens there") });
});

import { renameSync, writeFileSync } from "node:fs";
import { writeAdapter, writeSafetensors } from "@aibrix/devcluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clockOf } from "./support/clock.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type CountingProxy, startProxy } from "./support/proxy.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { type Runtime, World } from "./support/world.ts";

/*
 * Somebody sets the machine's clock an hour ahead, and back, while the runtime downloads, waits for a next try and holds locks. The clock that
 * never jumps is the kernel's own; only the time of day is another one.
 */
const MIB = 2 ** 20;
const HOUR_S = 3_600;
const world = new World();
const OFFSET = world.path("offset");
let s3: S3;
let engine: Program;
let runtime: Runtime;
let proxy: CountingProxy;

beforeAll(async () => {
  s3 = await startS3(world.path("s3"));
  proxy = await startProxy(s3.endpoint);
  engine = await world.engine();
  await writeAdapter(world.path("big"), { seed: 1 });
  const data = new Float32Array((40 * MIB) / 4);
  await writeSafetensors(world.path("big/adapter_model.safetensors"), {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": { shape: [8, data.length / 8], data },
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": { shape: [8, 8], data: new Float32Array(64) },
  });
  await s3.putFolder("models", "big", world.path("big"));
  await writeAdapter(world.path("small"), { seed: 2 });
  await s3.putFolder("models", "small", world.path("small"));
  jump(0);
  runtime = await world.runtime(engine.url, {
    args: ["--download-rate-limit=4Mi", "--download-timeout=90s", "--pod-folder=a"],
    env: clockOf(OFFSET),
  });
}, 120_000);
afterAll(async () => {
  await stopPrograms();
  await proxy?.close();
  await s3?.close();
  world.remove();
});

/** Sets the runtime's time of day so many seconds off. */
function jump(seconds: number): void {
  writeFileSync(`${OFFSET}.new`, `${seconds}`);
  renameSync(`${OFFSET}.new`, OFFSET);
}
const atLeast = (n: number) => expect.toSatisfy((value: unknown) => Number(value) >= n);

test("downloads, deadlines and tries again take no notice; the times that are told follow", async () => {
  const startedMs = performance.now();
  await runtime.load("away", "s3://models/small", { credentials: { ...s3.secret, aws_endpoint_url: "http://127.0.0.1:9" } });
  await runtime.load("big", "s3://models/big", { credentials: { ...s3.secret, aws_endpoint_url: proxy.url } });
  await runtime.until("big", { state: "Downloading", download: { bytes: atLeast(2 * MIB) } });
  for (const offset of [HOUR_S, -HOUR_S]) {
    const { attempts: before } = await runtime.until("away", { state: "Failed" });
    jump(offset);
    // What is asked anew is signed by the new time, which the server does not believe.
    Object.assign(proxy, { cuts: 2, cutAfterBytes: 0 });
    const away = await runtime.until("away", { state: "Failed", attempts: atLeast(before + 1), next_retry_time: expect.any(String) });
    // More tries than there was time for would mean that a wait ended early.
    expect((performance.now() - startedMs) / 1000).toBeGreaterThan(0.8 * (2 ** (away.attempts - 1) - 1));
    const aheadS = (Date.parse(away.next_retry_time ?? "") - Date.now()) / 1000;
    expect(Math.abs(aheadS - offset)).toBeLessThan(60);
  }
  await runtime.until("big", { content_digest: expect.stringMatching(/^sha256:/) });
  expect(runtime.program.output()).toContain('"adapter":"big","url":"s3://models/big"');
  expect(runtime.program.output()).not.toMatch(/"adapter":"big","step":"fetch"/);
});

test("an adapter that is declared while the clock is an hour off comes by the server's time", async () => {
  jump(HOUR_S);
  await runtime.load("small", "s3://models/small", { credentials: s3.secret });
  await runtime.serves("small");
});

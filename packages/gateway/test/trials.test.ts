import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type GrpcServer, listen, TRANSPORTS, type TransportName } from "../src/grpc/server.ts";
import type { StreamDeps } from "../src/grpc/stream.ts";
import { Attempts, type Trial } from "../src/phases/types.ts";
import { Loads } from "../src/picking/loads.ts";
import { Picker } from "../src/picking/picker.ts";
import { RoutingTable } from "../src/routing/table.ts";
import { type EnvoyPath, startEnvoyPath } from "./support/data-path.ts";
import { StandInEngine } from "./support/stand-in-engine.ts";
import { until } from "./support/wait.ts";

const FORM = { path: "/v1/audio/transcriptions", type: "multipart/form-data; boundary=x" };
const form = (model: string): string => `--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--x--\r\n`;

describe.each(Object.keys(TRANSPORTS) as TransportName[])("answers of a model with a content on trial, by %s", (transport) => {
  let stable: StandInEngine;
  let canary: StandInEngine;
  let server: GrpcServer;
  let path: EnvoyPath;
  let inCanary: boolean;
  let answered: string[];

  beforeEach(async () => {
    stable = await new StandInEngine("stable", ["lora", "plain"]).start();
    canary = await new StandInEngine("canary", ["lora"]).start();
    inCanary = true;
    answered = [];
    const table = new RoutingTable();
    const lora = { id: "lora", kind: "adapter", root: "lora", createdSec: 1, namespace: "team" } as const;
    const place = (engine: StandInEngine, models: readonly object[]): void =>
      table.update(engine.name, {
        type: "state",
        state: { address: `127.0.0.1:${engine.port}`, notReady: undefined, models: models as readonly (typeof lora)[] },
      });
    place(stable, [lora, { ...lora, id: "plain" }]);
    place(canary, [{ ...lora, canaryWeight: 50 }]);
    const now = (): number => performance.now();
    const picker = new Picker({ now, random: Math.random, loads: new Loads() });
    const deps: StreamDeps = {
      routes: table,
      pick: (addresses, others) => picker.pick(addresses, others),
      attempts: new Attempts(),
      inCanary: () => inCanary,
      onRoutesChange: () => () => undefined,
      now,
      onDone: () => undefined,
      onWaited: () => undefined,
      updateHoldMs: 0,
      onAnswered: ({ namespace, model, version }: Trial, status, afterMs) => {
        expect(afterMs).toBeGreaterThan(0);
        answered.push(`${namespace}/${model} ${version} ${status}`);
      },
      onDefect: (error) => {
        throw error;
      },
    };
    server = await listen({ host: "127.0.0.1", port: 0, transport, tls: undefined }, deps);
    path = await startEnvoyPath([stable, canary], server.port);
  });

  afterEach(async () => {
    await path?.stop();
    await server?.drain(5_000);
    await Promise.all([stable?.stop(), canary?.stop()]);
  });

  const sent = async (): Promise<number> => await path.stat("http.aibrix.ext_proc.stream_msgs_sent");

  test("the status that the client gets counts for the content that gave it, whoever found the model", async () => {
    expect((await path.complete("lora")).json.engine).toBe("canary");
    inCanary = false;
    expect((await path.complete("lora")).json.engine).toBe("stable");
    inCanary = true;
    canary.handler = (_request, response) => response.writeHead(500).end("{}");
    expect((await path.complete("lora")).status).toBe(500);
    canary.handler = (_request, response) => response.end("{}");
    expect((await path.call(FORM.path, { body: form("lora"), headers: { "content-type": FORM.type } })).status).toBe(200);
    expect(answered).toEqual(["team/lora canary 200", "team/lora stable 200", "team/lora canary 500", "team/lora canary 200"]);
    await until("its call has ended", () => server.openStreams() === 0);
  });

  test("retries begin with the content, and count as the one answer that they end with", async () => {
    let calls = 0;
    canary.handler = (_request, response) => {
      calls += 1;
      response.writeHead(calls <= 3 ? 404 : 200, { "content-type": "application/json" }).end('{"engine":"canary"}');
    };
    expect((await path.complete("lora")).json.engine).toBe("canary");
    expect([answered, calls]).toEqual([["team/lora canary 200"], 4]);
    canary.handler = (_request, response) => response.writeHead(404).end("{}");
    expect((await path.complete("lora")).json.engine).toBe("stable");
    expect(answered.slice(1)).toEqual(["team/lora canary other"]);
    expect(stable.count).toBe(1);
  });

  test("where a content's only engine is gone the other one answers, which counts for neither; where both are, it counts", async () => {
    expect((await path.complete("lora")).json.engine).toBe("canary");
    await canary.stop();
    expect((await path.complete("lora")).json.engine).toBe("stable");
    await canary.start();
    await stable.stop();
    inCanary = false;
    expect((await path.complete("lora")).json.engine).toBe("canary");
    await canary.stop();
    expect((await path.complete("lora")).status).toBe(503);
    expect(answered).toEqual(["team/lora canary 200", "team/lora canary other", "team/lora stable other", "team/lora stable 503"]);
  });

  test("other models' answers are not asked for", async () => {
    const before = await sent();
    expect((await path.complete("plain")).status).toBe(200);
    expect((await sent()) - before).toBe(1);
    stable.handler = (_request, response) => response.end("{}");
    expect((await path.call(FORM.path, { body: form("plain"), headers: { "content-type": FORM.type } })).status).toBe(200);
    // Asked for before the body told the model, and not waited for.
    await until("its call has ended", () => server.openStreams() === 0);
    expect(answered).toEqual([]);
  });

  test("an answer in pieces goes on after its head", async () => {
    let finish = (): void => undefined;
    canary.handler = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
      finish = () => response.end("data: 2\n\n");
    };
    const answer = await fetch(`${path.url}/v1/completions`, { method: "POST", body: '{"model":"lora"}' });
    await until("its head is counted", () => answered.length === 1);
    await until("its call has ended", () => server.openStreams() === 0);
    finish();
    expect(await answer.text()).toBe("data: 1\n\ndata: 2\n\n");
  });

  test("a request whose client leaves before the answer has no status", async () => {
    canary.handler = () => undefined;
    const request = httpRequest(`${path.url}/v1/completions`, { method: "POST" });
    request.on("error", () => undefined).end('{"model":"lora"}');
    await until("it is sent on", () => canary.count === 1);
    expect(answered).toEqual([]);
    request.destroy();
    await until("it is counted", () => answered.length === 1);
    expect(answered).toEqual(["team/lora canary undefined"]);
  });

  test("a gateway that ends lets go of them: they are answered all the same", async () => {
    let finish = (): void => undefined;
    canary.handler = (_request, response) => {
      finish = () => response.end("late");
    };
    const request = httpRequest(`${path.url}/v1/completions`, { method: "POST" });
    request.end('{"model":"lora"}');
    await until("it is sent on", () => canary.count === 1);
    expect(await server.drain(5_000)).toBe(true);
    finish();
    const [response] = await once(request, "response");
    expect((await response.toArray()).join("")).toBe("late");
    expect([response.statusCode, answered]).toEqual([200, []]);
  });
});

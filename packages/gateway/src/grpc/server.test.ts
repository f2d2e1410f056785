import { once } from "node:events";
import { Client, type ClientDuplexStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { envoy, grpc } from "#proto";
import { until } from "../../test/support/wait.ts";
import { resultOf } from "../requests.ts";
import { RoutingTable } from "../routing/table.ts";
import { EXT_PROC_SERVICE_NAME, type GrpcServer, listen, TRANSPORTS, type TransportName } from "./server.ts";
import type { StreamDeps } from "./stream.ts";

const { ProcessingRequest, ProcessingResponse } = envoy.service.ext_proc.v3;
const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;
type Request = envoy.service.ext_proc.v3.ProcessingRequest.$Properties;
type Response = envoy.service.ext_proc.v3.ProcessingResponse;

const results: string[] = [];
const waited: string[] = [];
const onDefect = vi.fn();
let table: RoutingTable;
let listeners: number;
let updateHoldMs: number;
let server: GrpcServer;
let client: Client;
let pick: StreamDeps["pick"];

describe.each(Object.keys(TRANSPORTS) as TransportName[])("%s", (transport) => {
  beforeEach(async () => {
    results.length = 0;
    waited.length = 0;
    onDefect.mockReset();
    listeners = 0;
    updateHoldMs = 20_000;
    pick = (addresses) => addresses;
    table = new RoutingTable();
    const deps: StreamDeps = {
      routes: table,
      pick: (addresses) => pick(addresses),
      inCanary: () => false,
      onRoutesChange: (callback) => {
        listeners += 1;
        const stop = table.onChange(callback);
        return () => {
          listeners -= 1;
          stop();
        };
      },
      now: () => performance.now(),
      onDone: (record) => {
        results.push(resultOf(record));
        return undefined;
      },
      get updateHoldMs() {
        return updateHoldMs;
      },
      onAnswered: () => undefined,
      onWaited: (result) => waited.push(result),
      onDefect,
    };
    const holdLimits = { requests: 2, bytes: 1_000 };
    server = await listen({ host: "127.0.0.1", port: 0, transport, tls: undefined }, deps, { holdLimits });
    client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  });

  afterEach(async () => {
    client.close();
    await server.drain(1_000);
  });

  function serve(id: string): void {
    const models = [{ id, kind: "base", root: id, createdSec: 1 }] as const;
    table.update("e", { type: "state", state: { address: "10.0.0.1:8000", notReady: undefined, models } });
  }

  function open(): ClientDuplexStream<Request, Response> {
    return client.makeBidiStreamRequest(
      `/${EXT_PROC_SERVICE_NAME}/Process`,
      (r: Request) => Buffer.from(ProcessingRequest.encode(r).finish()),
      (b: Buffer) => ProcessingResponse.decode(b),
    );
  }

  const HEADERS: Request = {
    requestHeaders: {
      headers: {
        headers: [
          { key: ":method", rawValue: Buffer.from("POST") },
          { key: ":path", rawValue: Buffer.from("/v1/completions") },
        ],
      },
    },
  };
  const LENGTH = { key: "content-length", rawValue: Buffer.from("13") };
  const body = (model: string): Request => ({ requestBody: { body: Buffer.from(JSON.stringify({ model })), endOfStream: true } });

  async function said(call: ClientDuplexStream<Request, Response>): Promise<Response> {
    return ((await once(call, "data")) as [Response])[0];
  }

  test("a request is routed, and the gateway ends the stream itself", async () => {
    serve("m");
    const call = open();
    call.write(HEADERS);
    expect((await said(call)).response).toBe("requestHeaders");
    call.write(body("m"));
    expect((await said(call)).response).toBe("requestBody");
    await once(call, "end");
    call.end();
    expect(results).toEqual(["routed"]);
  });

  test("with the body the head of the answer is asked for only while a content of some model is on trial", async () => {
    const asked = async (): Promise<unknown> => {
      const call = open();
      call.write(HEADERS);
      const { modeOverride } = await said(call);
      call.write(body("m"));
      await once(call, "end");
      call.end();
      return modeOverride?.responseHeaderMode;
    };
    serve("m");
    const [SEND, SKIP] = [1, 2];
    expect(await asked()).toBe(SKIP);
    const onTrial = { id: "other", kind: "adapter", root: "other", createdSec: 1, canaryWeight: 5 } as const;
    table.update("e", { type: "model", model: onTrial });
    expect(await asked()).toBe(SEND);
    table.update("e", { type: "withdrawn", id: "other" });
    expect(await asked()).toBe(SKIP);
  });

  test("a model that appears while the request waits is found", async () => {
    const call = open();
    call.write(HEADERS);
    await said(call);
    call.write(body("m"));
    await until("it waits", () => listeners === 1);
    table.update("other", { type: "notReady", why: "x" });
    expect(listeners).toBe(1);
    serve("m");
    expect((await said(call)).response).toBe("requestBody");
    expect([results, waited, listeners]).toEqual([["routed"], ["found"], 0]);
    call.end();
  });

  describe("of a model whose one engine swaps its content", () => {
    const lora = { id: "m", kind: "adapter", root: "m", createdSec: 1 } as const;
    const swap = (): void => table.declare("d", { ...lora, notServing: "it is Bound", swapping: true });

    async function ask(): Promise<ClientDuplexStream<Request, Response>> {
      const call = open();
      call.write({ requestHeaders: { headers: { headers: [...(HEADERS.requestHeaders?.headers?.headers ?? []), LENGTH] } } });
      await said(call);
      call.write(body("m"));
      return call;
    }

    test("a request is held until an engine serves it again", async () => {
      swap();
      const call = await ask();
      await until("it is held", () => server.held() === 1);
      expect([results, waited]).toEqual([[], []]);
      serve("m");
      expect((await said(call)).response).toBe("requestBody");
      expect([results, waited, listeners, server.held()]).toEqual([["routed"], ["found"], 0, 0]);
      call.end();
    });

    test("a request that has waited for as long as it may is refused", async () => {
      updateHoldMs = 400;
      swap();
      const call = await ask();
      const answer = (await said(call)).immediateResponse;
      expect(answer?.status?.code).toBe(503);
      expect(answer?.headers?.setHeaders?.map((h) => h.header?.key)).toContain("retry-after");
      expect([results, waited, server.held()]).toEqual([["aibrix_model_not_ready"], ["given_up"], 0]);
      call.end();
    });

    test("a swap that is over without an engine holds nobody for longer, and neither does a wait that begins with another reason", async () => {
      table.declare("d", { ...lora, notServing: "it is Bound" });
      const early = await ask();
      await until("it waits", () => listeners === 1);
      swap();
      await until("it is held", () => server.held() === 1);
      table.declare("d", { ...lora, notServing: "it is Failed" });
      expect(server.held()).toBe(0);
      expect((await said(early)).immediateResponse?.status?.code).toBe(503);
      early.end();
    });

    test("above what may be held, requests are refused as if nothing were held", async () => {
      swap();
      const calls = await Promise.all([ask(), ask()]);
      await until("two are held", () => server.held() === 2);
      const third = await ask();
      expect((await said(third)).immediateResponse?.status?.code).toBe(503);
      expect([waited, server.held()]).toEqual([["no_room"], 2]);
      for (const call of [...calls, third]) call.end();
    });

    test("a body that is here counts by its size, and one that is not by what its client says of it", async () => {
      swap();
      const peeked = (...more: object[]): Request => {
        const peek = { key: "x-gateway-model-peek", rawValue: Buffer.from("m") };
        return { requestHeaders: { headers: { headers: [...(HEADERS.requestHeaders?.headers?.headers ?? []), peek, ...more] } } };
      };
      const [here, told, unknown] = [open(), open(), open()];
      for (const call of [here, told]) call.on("error", () => undefined);
      here.write(HEADERS);
      await said(here);
      here.write(body("m"));
      told.write(peeked(LENGTH));
      await until("both are held", () => server.held() === 2);
      here.cancel();
      await until("there is room for one more", () => server.held() === 1);
      unknown.write(peeked());
      expect((await said(unknown)).immediateResponse?.status?.code).toBe(503);
      expect(waited).toEqual(["aborted", "no_room"]);
      told.cancel();
      unknown.end();
    });

    test("a request that is cut while it is held leaves its place", async () => {
      swap();
      const call = await ask();
      call.on("error", () => undefined);
      await until("it is held", () => server.held() === 1);
      call.cancel();
      await until("nobody is", () => server.held() === 0);
      expect([results, waited, listeners]).toEqual([["client_left"], ["aborted"], 0]);
    });

    test("a gateway that ends answers it, with what comes in time or a refusal", async () => {
      swap();
      const [back, never] = await Promise.all([ask(), ask()]);
      const refused = said(never);
      await until("both are held", () => server.held() === 2);
      const drained = server.drain(2_000);
      expect((await refused).immediateResponse?.status?.code).toBe(503);
      back.end();
      never.end();
      expect(await drained).toBe(true);
    });

    test("a gateway that ends lets it be found until then", async () => {
      swap();
      const call = await ask();
      await until("it is held", () => server.held() === 1);
      const drained = server.drain(20_000);
      serve("m");
      expect((await said(call)).response).toBe("requestBody");
      call.end();
      expect(await drained).toBe(true);
    });
  });

  test("a model that never appears is refused", async () => {
    const call = open();
    call.write(HEADERS);
    await said(call);
    call.write(body("m"));
    expect((await said(call)).immediateResponse?.status?.code).toBe(404);
    expect([results, waited, listeners]).toEqual([["aibrix_model_not_found"], ["given_up"], 0]);
    call.end();
  });

  test("a stream that is cut while it waits leaves nothing", async () => {
    const calls = Array.from({ length: 20 }, open);
    for (const call of calls) {
      call.on("error", () => undefined);
      call.write(HEADERS);
      await said(call);
      call.write(body("m"));
    }
    await until("all wait", () => listeners === 20);
    for (const call of calls) call.cancel();
    await until("none waits", () => listeners === 0);
    expect(waited).toEqual(Array.from({ length: 20 }, () => "aborted"));
    expect(results).toEqual(Array.from({ length: 20 }, () => "client_left"));
  });

  test.each(["cancel", "end"] as const)("a request whose client has gone before its body was there is counted (%s)", async (how) => {
    const call = open();
    call.on("error", () => undefined);
    call.write(HEADERS);
    await said(call);
    call[how]();
    await until("it is counted", () => results.length > 0);
    await until("it is over", () => server.openStreams() === 0);
    expect(results).toEqual(["client_left"]);
  });

  test("a defect ends its stream with an error and no details, and no other stream", async () => {
    serve("m");
    pick = () => {
      throw new Error("inner secret");
    };
    const call = open();
    call.write(HEADERS);
    await said(call);
    call.write(body("m"));
    const [error] = (await once(call, "error")) as [ServiceError];
    expect([error.code, error.details]).toEqual([status.INTERNAL, "internal error"]);
    expect(onDefect).toHaveBeenCalledOnce();
    pick = (addresses) => addresses;
    const next = open();
    next.write(HEADERS);
    expect((await said(next)).response).toBe("requestHeaders");
    next.end();
  });

  test("bytes that are no message end their stream with an error", async () => {
    const call = client.makeBidiStreamRequest(
      `/${EXT_PROC_SERVICE_NAME}/Process`,
      (b: Buffer) => b,
      (b: Buffer) => b,
    );
    call.write(Buffer.from([0x12, 0x7f, 0x01]));
    const [error] = (await once(call, "error")) as [ServiceError];
    expect(error.code).toBe(status.INTERNAL);
  });

  test("every phase is answered", async () => {
    const call = open();
    for (const phase of ["requestTrailers", "responseHeaders", "responseBody", "responseTrailers"] as const) {
      call.write({ [phase]: {} });
      expect((await said(call)).response).toBe(phase);
    }
    call.end();
    await once(call, "end");
  });

  const health = (service: string): Promise<number | string | undefined> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        (r: grpc.health.v1.HealthCheckRequest.$Properties) => Buffer.from(HealthCheckRequest.encode(r).finish()),
        (b: Buffer) => HealthCheckResponse.decode(b),
        { service },
        (error, value) => resolve(error === null ? value?.status : status[error.code]),
      );
    });

  test("health says what it was told, for known services", async () => {
    expect([await health(""), await health("readiness"), await health("liveness")]).toEqual([2, 2, 1]);
    server.health.set(true);
    const services = ["", EXT_PROC_SERVICE_NAME, "readiness", "x"];
    expect(await Promise.all(services.map(health))).toEqual([1, 1, 1, "NOT_FOUND"]);
  });

  test("a watch of the health sees every change and ends when the server drains", async () => {
    const watch = client.makeServerStreamRequest(
      "/grpc.health.v1.Health/Watch",
      (r: grpc.health.v1.HealthCheckRequest.$Properties) => Buffer.from(HealthCheckRequest.encode(r).finish()),
      (b: Buffer) => HealthCheckResponse.decode(b),
      { service: "" },
    );
    const seen: unknown[] = [];
    watch.on("data", (r: grpc.health.v1.HealthCheckResponse) => seen.push(r.status));
    await until("the first", () => seen.length === 1);
    server.health.set(true);
    await until("the change", () => seen.length === 2);
    const ended = once(watch, "end");
    expect(await server.drain(2_000)).toBe(true);
    await ended;
    expect(seen).toEqual([2, 1, 2]);
  });

  test("a stream that does not end is cut when the time is over", async () => {
    const call = open();
    const failed = once(call, "error");
    call.write(HEADERS);
    await said(call);
    expect(await server.drain(50)).toBe(false);
    await failed;
  });
});

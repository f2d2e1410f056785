import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Connection } from "../../src/grpc/http2/connection.ts";
import { ERROR, FRAME, PREFACE, SETTING } from "../../src/grpc/http2/constants.ts";
import { LIMITS } from "../../src/grpc/http2/limits.ts";
import type { GrpcHandler, GrpcMethods, GrpcStream } from "../../src/grpc/transport.ts";
import { callBlock, frame, headers, message, RawHttp2, SETTINGS, setting, u32 } from "../support/raw-http2.ts";
import { until } from "../support/wait.ts";

// How long a connection bears what its peer does; the clock is the test's.

let nowMs = 0;
let connection: Connection | undefined;
let server: Server;
let client: RawHttp2;

const methods: GrpcMethods = new Map<string, (stream: GrpcStream) => GrpcHandler>([
  ["/t/Echo", (stream) => ({ onMessage: (bytes) => stream.write(bytes), onEnd: () => undefined, onClosed: () => undefined })],
  ["/t/Keep", () => ({ onMessage: () => undefined, onEnd: () => undefined, onClosed: () => undefined })],
]);

beforeEach(async () => {
  nowMs = 0;
  connection = undefined;
  server = createServer({ noDelay: true }, (socket) => {
    connection = new Connection(socket, { methods, limits: LIMITS, maxStreams: 10, pending: { bytes: 0 }, now: () => nowMs });
  });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
});

afterEach(async () => {
  client.socket.destroy();
  connection?.destroy();
  server.close();
  await once(server, "close");
});

async function open(...settings: readonly Buffer[]): Promise<void> {
  const { port } = server.address() as AddressInfo;
  client = await RawHttp2.open(port, Buffer.concat([PREFACE, SETTINGS, ...settings.map((s) => frame(FRAME.SETTINGS, 0, 0, s))]));
  await until("it is taken", () => connection !== undefined);
}

/** The connection is looked at a while later. */
function later(ms: number): void {
  nowMs += ms;
  connection?.sweep();
}

const ping = (mark: number): Buffer => frame(FRAME.PING, 0, 0, u32(0, mark));
const ponged = async (mark: number): Promise<void> => {
  await client.frame(FRAME.PING, (f) => f.payload.equals(u32(0, mark)));
};

test("a large body may take long, though some frame of it is always unfinished", async () => {
  await open();
  const data = frame(FRAME.DATA, 0, 1, Buffer.concat([Buffer.from([0]), u32(10_000_000), Buffer.alloc(1_000)]));
  const more = frame(FRAME.DATA, 0, 1, Buffer.alloc(1_000));
  client.send(headers(1, callBlock("/t/Keep")), ping(1), data.subarray(0, 100));
  await ponged(1);
  let rest = data.subarray(100);
  for (let i = 2; i < 12; i++) {
    later(LIMITS.frameMs / 4);
    client.send(rest, ping(i), more.subarray(0, 100));
    await ponged(i);
    rest = more.subarray(100);
  }
  later(LIMITS.frameMs / 4);
  expect(client.frames.filter((f) => f.type === FRAME.GOAWAY)).toEqual([]);
  // And one that is not finished is not borne, though bytes of it still come.
  later(LIMITS.frameMs / 2);
  later(LIMITS.frameMs);
  expect(await client.goAway()).toBe(ERROR.ENHANCE_YOUR_CALM);
});

test("an answer for which no window is opened is given up, though other windows are opened", async () => {
  await open(setting(SETTING.INITIAL_WINDOW_SIZE, 8));
  client.send(headers(1, callBlock("/t/Echo")), message(1, Buffer.alloc(11)));
  await client.settle(1);
  for (let i = 2; i < 12; i++) {
    later(LIMITS.stallMs / 8);
    client.send(frame(FRAME.WINDOW_UPDATE, 0, 0, u32(1)));
    // Of its own window, for a while: that is progress.
    if (i < 5) client.send(frame(FRAME.WINDOW_UPDATE, 0, 1, u32(1)));
    await client.settle(i);
    expect(client.frames.filter((f) => f.type === FRAME.RST_STREAM)).toEqual([]);
  }
  later(LIMITS.stallMs / 4);
  expect(await client.reset(1)).toBe(ERROR.CANCEL);
});

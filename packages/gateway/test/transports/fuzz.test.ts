import { once } from "node:events";
import { Client, credentials } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ERROR, FLAG, FRAME, MAX_31_BITS, PREFACE, SETTING } from "../../src/grpc/http2/constants.ts";
import { LIMITS } from "../../src/grpc/http2/limits.ts";
import { GRPC_STATUS } from "../../src/grpc/status.ts";
import type { GrpcHandler, GrpcMethods, GrpcStream, Transport } from "../../src/grpc/transport.ts";
import { listenOwn } from "../../src/grpc/transports/own.ts";
import { callBlock, frame, headers, message, RawHttp2, SETTINGS, setting, u32 } from "../support/raw-http2.ts";
import { until } from "../support/wait.ts";

// Whatever a peer sends, the server lives, ends or answers, and keeps nothing.

let server: Transport;
let begun = 0;
let ended = 0;

/** Sends each message back, after a while where it begins with "w". */
function echo(stream: GrpcStream): GrpcHandler {
  begun += 1;
  let timer: NodeJS.Immediate | undefined;
  return {
    onMessage: (bytes) => {
      if (bytes[0] !== 0x77) {
        stream.write(bytes);
        return;
      }
      stream.pause();
      timer = setImmediate(() => {
        stream.write(bytes);
        stream.resume();
      });
    },
    onEnd: () => stream.end(GRPC_STATUS.OK),
    onClosed: () => {
      clearImmediate(timer);
      ended += 1;
    },
  };
}

/** Takes one message, and then none. */
function hold(stream: GrpcStream): GrpcHandler {
  begun += 1;
  return { onMessage: () => stream.pause(), onEnd: () => undefined, onClosed: () => (ended += 1) };
}

const methods: GrpcMethods = new Map([
  ["/t/Echo", echo],
  ["/t/Hold", hold],
]);

beforeAll(async () => {
  const limits = { ...LIMITS, prefaceMs: 2_000, frameMs: 2_000 };
  server = await listenOwn({ host: "127.0.0.1", port: 0 }, methods, { limits, sweepMs: 20 });
});

afterAll(async () => {
  await server.drain(0);
});

/** Sends bytes in pieces, one a turn. */
async function sendInPieces(client: RawHttp2, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  let at = 0;
  for (const cut of [...cuts.map((c) => c % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
    if (cut === at) continue;
    client.socket.write(bytes.subarray(at, cut));
    at = cut;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function expectNothingLeft(client: RawHttp2): Promise<void> {
  client.socket.end(); // Cut off, the server would not read what it has not read yet.
  await until("it is closed", () => client.closed);
  await until("no call is open", () => [server.openStreams(), begun - ended].every((n) => n === 0));
}

/** The server serves on. */
async function expectAlive(): Promise<void> {
  const client = await RawHttp2.open(server.port);
  client.send(headers(1, callBlock("/t/Echo")), message(1, Buffer.from("alive"), FLAG.END_STREAM));
  expect((await client.frame(FRAME.DATA)).payload.subarray(5).toString()).toBe("alive");
  await expectNothingLeft(client);
}

const ECHO = callBlock("/t/Echo");
const payload = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b));
const streamId = fc.constantFrom(0, 1, 1, 3, 3, 5, 7, 2, MAX_31_BITS);
const anyFrame = fc
  .record({ type: fc.integer({ min: 0, max: 11 }), flags: fc.constantFrom(0, 1, 4, 5, 8, 0x20, 0xff), streamId, payload })
  .map((f) => frame(f.type, f.flags, f.streamId, f.payload));
/** Frames that mostly make sense, in any order. */
const knownFrame = fc.oneof(
  streamId.map((id) => headers(id, ECHO)),
  streamId.map((id) => headers(id, ECHO, FLAG.END_HEADERS | FLAG.END_STREAM)),
  fc.tuple(streamId, payload, fc.boolean()).map(([id, bytes, last]) => message(id, bytes, last ? FLAG.END_STREAM : 0)),
  fc.tuple(streamId, payload).map(([id, bytes]) => frame(FRAME.DATA, 0, id, bytes)),
  streamId.map((id) => frame(FRAME.RST_STREAM, 0, id, u32(ERROR.CANCEL))),
  fc.tuple(streamId, fc.nat(100_000)).map(([id, n]) => frame(FRAME.WINDOW_UPDATE, 0, id, u32(n))),
  fc.nat(70_000).map((n) => frame(FRAME.SETTINGS, 0, 0, setting(SETTING.INITIAL_WINDOW_SIZE, n))),
  fc.constant(frame(FRAME.PING, 0, 0, u32(1, 2))),
);
const cuts = fc.array(fc.nat(), { maxLength: 20 });

test("any frames, cut anywhere", { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(anyFrame, knownFrame, knownFrame, knownFrame), { maxLength: 40 }), cuts, async (frames, at) => {
      const client = await RawHttp2.open(server.port);
      await sendInPieces(client, Buffer.concat(frames), at);
      await expectNothingLeft(client);
    }),
    { numRuns: 300 },
  );
  await expectAlive();
});

test("a good conversation with bytes that are changed", { timeout: 300_000 }, async () => {
  const good = Buffer.concat([
    PREFACE,
    SETTINGS,
    frame(FRAME.WINDOW_UPDATE, 0, 0, u32(1_000_000)),
    ...[1, 3, 5].flatMap((id) => [headers(id, ECHO), message(id, Buffer.alloc(500, 0x61))]),
    ...[1, 3, 5].flatMap((id) => [message(id, Buffer.from("wait")), message(id, Buffer.alloc(0), FLAG.END_STREAM)]),
  ]);
  const change = fc.record({ at: fc.nat(good.length - 1), to: fc.integer({ min: 0, max: 255 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), cuts, async (changes, at) => {
      const bytes = Buffer.from(good);
      for (const { at: place, to } of changes) bytes[place] = to;
      const client = await RawHttp2.open(server.port, Buffer.alloc(0));
      await sendInPieces(client, bytes, at);
      await expectNothingLeft(client);
    }),
    { numRuns: 300 },
  );
  await expectAlive();
});

test("answers keep to the windows, however small, and come whole", { timeout: 300_000 }, async () => {
  const sizes = fc.array(fc.nat(400), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.array(sizes, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 500 }), async (calls, window) => {
      const client = await RawHttp2.open(
        server.port,
        Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, setting(SETTING.INITIAL_WINDOW_SIZE, window))]),
      );
      const sent = new Map<number, Buffer>();
      const got = new Map<number, Buffer[]>();
      let tooMuch = 0;
      client.onFrame = ({ type, streamId: id, payload: bytes }) => {
        if (type !== FRAME.DATA || bytes.length === 0) return;
        if (bytes.length > window) tooMuch += 1;
        got.set(id, [...(got.get(id) ?? []), bytes]);
        // Given back at once, so that a call's window is never more than `window`.
        client.send(frame(FRAME.WINDOW_UPDATE, 0, id, u32(bytes.length)), frame(FRAME.WINDOW_UPDATE, 0, 0, u32(bytes.length)));
      };
      for (const [i, messages] of calls.entries()) {
        const id = 2 * i + 1;
        const framed = messages.map((n, k) => message(id, Buffer.alloc(n, 0x61 + k)));
        client.send(headers(id, ECHO), ...framed, frame(FRAME.DATA, FLAG.END_STREAM, id));
        sent.set(id, Buffer.concat(framed.map((f) => f.subarray(9))));
      }
      const whole = (): number => client.frames.filter((f) => f.type === FRAME.HEADERS && (f.flags & FLAG.END_STREAM) !== 0).length;
      await until("all answers are whole", () => whole() === calls.length);
      expect(tooMuch).toBe(0);
      for (const [id, bytes] of sent) expect(Buffer.concat(got.get(id) ?? []).equals(bytes)).toBe(true);
      await expectNothingLeft(client);
    }),
    { numRuns: 50 },
  );
});

test("a client that sends more than its window loses its call", async () => {
  const client = await RawHttp2.open(server.port);
  // Held back by its first message, the call takes no more, and nothing is given back.
  client.send(headers(1, callBlock("/t/Hold")), message(1, Buffer.alloc(1)));
  for (let i = 0; i < 300; i++) client.send(frame(FRAME.DATA, 0, 1, Buffer.alloc(16_384)));
  expect(await client.reset(1)).toBe(ERROR.FLOW_CONTROL_ERROR);
  await expectNothingLeft(client);
});

test("large messages pass both ways, through gRPC's own client", { timeout: 60_000 }, async () => {
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
  const asIs = (bytes: Buffer): Buffer => bytes;
  const call = client.makeBidiStreamRequest("/t/Echo", asIs, asIs);
  const want = Buffer.alloc(20 * 1024 * 1024, "0123456789");
  call.write(want);
  const [got] = (await once(call, "data")) as [Buffer];
  expect(got.equals(want)).toBe(true);
  call.end();
  await once(call, "end");
  client.close();
  await until("no call is open", () => server.openStreams() === 0);
});

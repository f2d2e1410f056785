import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ERROR, FLAG, FRAME, PREFACE, SETTING } from "../../src/grpc/http2/constants.ts";
import { LIMITS, type Limits } from "../../src/grpc/http2/limits.ts";
import { GRPC_STATUS } from "../../src/grpc/status.ts";
import type { GrpcHandler, GrpcStream, Transport } from "../../src/grpc/transport.ts";
import { listenOwn, type OwnOptions } from "../../src/grpc/transports/own.ts";
import { callBlock, frame, headers, literal, message, RawHttp2, SETTINGS, setting, u32 } from "../support/raw-http2.ts";
import { until } from "../support/wait.ts";

// What a peer may do wrong, and what it hears then (RFC 9113).

let server: Transport;
let closed = 0;
/** Calls of `/t/Hold`, which take one message and then none until they are resumed. */
const held: GrpcStream[] = [];
const clients: RawHttp2[] = [];

/** Sends each message back, and ends when the client does; `/t/Keep` says nothing. */
const methods = new Map<string, (stream: GrpcStream) => GrpcHandler>([
  [
    "/t/Echo",
    (stream) => ({
      onMessage: (bytes) => stream.write(bytes),
      onEnd: () => stream.end(GRPC_STATUS.OK),
      onClosed: () => {
        closed += 1;
      },
    }),
  ],
  ["/t/Keep", () => ({ onMessage: () => undefined, onEnd: () => undefined, onClosed: () => (closed += 1) })],
  ["/t/Done", (stream) => ({ onMessage: () => stream.end(GRPC_STATUS.OK), onEnd: () => undefined, onClosed: () => (closed += 1) })],
]);

methods.set("/t/Hold", (stream) => {
  held.push(stream);
  return { onMessage: () => stream.pause(), onEnd: () => undefined, onClosed: () => (closed += 1) };
});

async function listen(limits: Partial<Limits> = {}, options: OwnOptions = {}): Promise<void> {
  await server?.drain(0);
  server = await listenOwn({ host: "127.0.0.1", port: 0 }, methods, { limits: { ...LIMITS, ...limits }, sweepMs: 10, ...options });
}

async function open(first?: Buffer): Promise<RawHttp2> {
  const client = await RawHttp2.open(server.port, first);
  clients.push(client);
  return client;
}

beforeEach(async () => {
  closed = 0;
  held.length = 0;
  await listen();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await until("no call is open", () => server.openStreams() === 0);
  await server.drain(0);
});

const ECHO = callBlock("/t/Echo");
const LAST = FLAG.END_HEADERS | FLAG.END_STREAM;

test("a call is served, split at every byte", async () => {
  const client = await open(Buffer.alloc(0));
  const bytes = Buffer.concat([PREFACE, SETTINGS, headers(1, ECHO), message(1, Buffer.from("hello"), FLAG.END_STREAM)]);
  for (const byte of bytes) {
    client.socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const data = await client.frame(FRAME.DATA);
  expect(data.payload.subarray(5).toString()).toBe("hello");
  const trailers = await client.frame(FRAME.HEADERS, (f) => f.flags === LAST);
  expect(trailers.payload.toString("latin1")).toContain("grpc-status\x010");
  await until("it is over", () => closed === 1);
});

describe("ends the connection", () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM } = ERROR;
  const opened = headers(1, ECHO);
  test.each([
    { name: "a preface that is none", first: Buffer.from("GET / HTTP/1.1\r\n\r\n"), code: PROTOCOL_ERROR },
    { name: "no SETTINGS first", first: Buffer.concat([PREFACE, opened]), code: PROTOCOL_ERROR },
    {
      name: "DATA first",
      first: Buffer.concat([PREFACE, message(1, Buffer.alloc(1))]),
      code: PROTOCOL_ERROR,
      why: "the first frame is not SETTINGS",
    },
    { name: "DATA without a stream", send: [message(0, Buffer.alloc(1))], code: PROTOCOL_ERROR },
    { name: "DATA of a stream that was never open", send: [message(5, Buffer.alloc(1))], code: PROTOCOL_ERROR },
    { name: "HEADERS without a stream", send: [headers(0, ECHO)], code: PROTOCOL_ERROR },
    { name: "an even stream", send: [headers(2, ECHO)], code: PROTOCOL_ERROR },
    { name: "another frame in a header block", send: [headers(1, ECHO, 0), frame(FRAME.PING, 0, 0, u32(0, 0))], code: PROTOCOL_ERROR },
    { name: "another stream's CONTINUATION", send: [headers(1, ECHO, 0), frame(FRAME.CONTINUATION, 4, 3, ECHO)], code: PROTOCOL_ERROR },
    { name: "DATA in a header block", send: [opened, headers(3, ECHO, 0), message(1, Buffer.alloc(1))], code: PROTOCOL_ERROR },
    { name: "CONTINUATION of nothing", send: [frame(FRAME.CONTINUATION, 4, 1, ECHO)], code: PROTOCOL_ERROR },
    { name: "a padding beyond its frame", send: [opened, frame(FRAME.DATA, FLAG.PADDED, 1, [9, 1])], code: PROTOCOL_ERROR },
    { name: "a padding beyond its headers", send: [frame(FRAME.HEADERS, 12, 1, [200, 1])], code: PROTOCOL_ERROR },
    { name: "a frame that is too large", send: [frame(FRAME.DATA, 0, 1, Buffer.alloc(16_385))], code: FRAME_SIZE_ERROR },
    { name: "a short PING", send: [frame(FRAME.PING, 0, 0, [1])], code: FRAME_SIZE_ERROR },
    { name: "a PING with a stream", send: [frame(FRAME.PING, 0, 1, u32(0, 0))], code: PROTOCOL_ERROR },
    { name: "short SETTINGS", send: [frame(FRAME.SETTINGS, 0, 0, [1])], code: FRAME_SIZE_ERROR },
    { name: "SETTINGS with a stream", send: [frame(FRAME.SETTINGS, 0, 1)], code: PROTOCOL_ERROR },
    { name: "an acknowledgement that sets", send: [frame(FRAME.SETTINGS, 1, 0, setting(4, 1))], code: FRAME_SIZE_ERROR },
    { name: "ENABLE_PUSH 2", send: [frame(FRAME.SETTINGS, 0, 0, setting(SETTING.ENABLE_PUSH, 2))], code: PROTOCOL_ERROR },
    { name: "a small frame size", send: [frame(FRAME.SETTINGS, 0, 0, setting(SETTING.MAX_FRAME_SIZE, 1))], code: PROTOCOL_ERROR },
    { name: "a huge window", send: [frame(FRAME.SETTINGS, 0, 0, setting(SETTING.INITIAL_WINDOW_SIZE, 2 ** 31))], code: FLOW_CONTROL_ERROR },
    { name: "WINDOW_UPDATE by nothing", send: [frame(FRAME.WINDOW_UPDATE, 0, 0, u32(0))], code: PROTOCOL_ERROR },
    { name: "a window that overflows", send: [frame(FRAME.WINDOW_UPDATE, 0, 0, u32(2 ** 31 - 1))], code: FLOW_CONTROL_ERROR },
    { name: "WINDOW_UPDATE of a stream that is not open", send: [frame(FRAME.WINDOW_UPDATE, 0, 9, u32(1))], code: PROTOCOL_ERROR },
    { name: "a short WINDOW_UPDATE", send: [frame(FRAME.WINDOW_UPDATE, 0, 0, [1])], code: FRAME_SIZE_ERROR },
    { name: "RST_STREAM of a stream that is not open", send: [frame(FRAME.RST_STREAM, 0, 1, u32(8))], code: PROTOCOL_ERROR },
    { name: "a short RST_STREAM", send: [opened, frame(FRAME.RST_STREAM, 0, 1, [8])], code: FRAME_SIZE_ERROR },
    { name: "PRIORITY without a stream", send: [frame(FRAME.PRIORITY, 0, 0, [0, 0, 0, 0, 0])], code: PROTOCOL_ERROR },
    { name: "PUSH_PROMISE", send: [opened, frame(FRAME.PUSH_PROMISE, 4, 1, u32(2))], code: PROTOCOL_ERROR },
    { name: "a header block that is none", send: [headers(1, Buffer.from([0xff, 0xff]))], code: COMPRESSION_ERROR },
    {
      name: "a header block without end",
      send: [headers(1, ECHO, 0), ...Array.from({ length: 40 }, () => frame(FRAME.CONTINUATION, 0, 1))],
      code: ENHANCE_YOUR_CALM,
    },
    {
      name: "a header block that is too large",
      send: [headers(1, ECHO, 0), ...Array.from({ length: 5 }, () => frame(FRAME.CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x82)))],
      code: ENHANCE_YOUR_CALM,
    },
  ])("for $name", async ({ first, send, code, why = "" }) => {
    const client = await open(first);
    if (send !== undefined) client.send(...send);
    expect(await client.goAway()).toBe(code);
    // Of two rules with one code, the one that is meant.
    expect((await client.frame(FRAME.GOAWAY)).payload.toString("latin1", 8)).toContain(why);
  });
});

describe("ends the call alone", () => {
  const PSEUDO = [":method:POST", ":scheme:http", ":path:/t/Echo"];
  /** Fields of the form `name:value`, where a name may begin with a colon. */
  const fields = (...texts: readonly string[]): Buffer =>
    Buffer.concat(
      texts.map((text) => {
        const colon = text.indexOf(":", 1);
        return literal(text.slice(0, colon), text.slice(colon + 1));
      }),
    );
  const path = (text: string): Buffer => Buffer.concat([callBlock("/t/Echo"), literal("x", text)]);
  test.each([
    { name: "a name in upper case", send: [headers(1, Buffer.concat([ECHO, literal("X-Up", "1")]))], code: ERROR.PROTOCOL_ERROR },
    { name: "a value with a new line", send: [headers(1, path("a\nb"))], code: ERROR.PROTOCOL_ERROR },
    { name: "a pseudo-header behind others", send: [headers(1, fields("te:trailers", ...PSEUDO))], code: ERROR.PROTOCOL_ERROR },
    { name: "a pseudo-header twice", send: [headers(1, fields(...PSEUDO, ":path:/t/Echo"))], code: ERROR.PROTOCOL_ERROR },
    { name: "an unknown pseudo-header", send: [headers(1, fields(...PSEUDO, ":status:200"))], code: ERROR.PROTOCOL_ERROR },
    { name: "no method", send: [headers(1, fields(...PSEUDO.filter((f) => !f.startsWith(":method"))))], code: ERROR.PROTOCOL_ERROR },
    { name: "no path", send: [headers(1, fields(...PSEUDO.filter((f) => !f.startsWith(":path"))))], code: ERROR.PROTOCOL_ERROR },
    { name: "no scheme", send: [headers(1, fields(...PSEUDO.filter((f) => !f.startsWith(":scheme"))))], code: ERROR.PROTOCOL_ERROR },
    { name: "a header of connections", send: [headers(1, Buffer.concat([ECHO, literal("upgrade", "x")]))], code: ERROR.PROTOCOL_ERROR },
    { name: "another te", send: [headers(1, Buffer.concat([ECHO, literal("te", "gzip")]))], code: ERROR.PROTOCOL_ERROR },
    { name: "trailers that end nothing", send: [headers(1, ECHO), headers(1, literal("x", "1"))], code: ERROR.PROTOCOL_ERROR },
    { name: "WINDOW_UPDATE by nothing", send: [headers(1, ECHO), frame(FRAME.WINDOW_UPDATE, 0, 1, u32(0))], code: ERROR.PROTOCOL_ERROR },
    {
      name: "a window that overflows",
      send: [headers(1, ECHO), frame(FRAME.WINDOW_UPDATE, 0, 1, u32(2 ** 31 - 1))],
      code: ERROR.FLOW_CONTROL_ERROR,
    },
    {
      name: "DATA behind the end",
      send: [headers(1, callBlock("/t/Keep"), LAST), message(1, Buffer.alloc(1))],
      code: ERROR.STREAM_CLOSED,
    },
    { name: "a short PRIORITY", send: [headers(1, ECHO), frame(FRAME.PRIORITY, 0, 1, [1])], code: ERROR.FRAME_SIZE_ERROR },
  ])("for $name", async ({ send, code }) => {
    const client = await open();
    client.send(...send);
    expect(await client.reset(1)).toBe(code);
    client.send(headers(3, ECHO), message(3, Buffer.from("on"), FLAG.END_STREAM));
    expect((await client.frame(FRAME.DATA, (f) => f.streamId === 3)).payload.subarray(5).toString()).toBe("on");
  });

  test.each([
    { name: "an unknown method", send: [headers(1, callBlock("/t/None"), LAST)], says: "grpc-status\x0212" },
    { name: "a compressed message", send: [headers(1, ECHO), frame(FRAME.DATA, 0, 1, [1, 0, 0, 0, 0])], says: "grpc-status\x0212" },
    { name: "a message that is too large", send: [headers(1, ECHO), frame(FRAME.DATA, 0, 1, [0, 9, 0, 0, 0])], says: "grpc-status\x018" },
    { name: "half a message", send: [headers(1, ECHO), frame(FRAME.DATA, 1, 1, [0, 0, 0, 0, 9, 1])], says: "grpc-status\x0213" },
    {
      name: "headers that are too large",
      send: [
        headers(
          1,
          Buffer.concat([ECHO, Buffer.from([0x40, 1, 0x61, 0x7f, 0x81, 0x1e]), Buffer.alloc(3_968, 0x62), Buffer.alloc(20, 0xbe)]),
        ),
      ],
      says: "grpc-status\x018",
    },
  ])("with a status for $name", async ({ send, says }) => {
    const client = await open();
    client.send(...send);
    const answer = await client.frame(FRAME.HEADERS, (f) => f.flags === LAST);
    expect(answer.payload.toString("latin1")).toContain(says);
  });

  test("with 415 for what is no gRPC", async () => {
    const client = await open();
    const fields = { ":method": "GET", ":scheme": "http", ":path": "/" };
    client.send(headers(1, Buffer.concat(Object.entries(fields).map(([n, v]) => literal(n, v))), LAST));
    expect((await client.frame(FRAME.HEADERS)).payload.toString("latin1")).toContain("415");
  });

  test("where too many are open", async () => {
    await listen({}, { maxStreams: 3 });
    const client = await open();
    for (const id of [1, 3, 5, 7]) client.send(headers(id, callBlock("/t/Keep")));
    expect(await client.reset(7)).toBe(ERROR.REFUSED_STREAM);
    expect(server.openStreams()).toBe(3);
  });

  test("where too many bytes wait", async () => {
    await listen({ pendingBytes: 1_000 });
    const client = await open();
    client.send(headers(1, ECHO), frame(FRAME.DATA, 0, 1, Buffer.concat([Buffer.from([0]), u32(5_000), Buffer.alloc(2_000)])));
    const answer = await client.frame(FRAME.HEADERS, (f) => f.flags === LAST);
    expect(answer.payload.toString("latin1")).toContain("grpc-status\x018");
  });

  test("where too many bytes wait on all connections together, until some are gone", async () => {
    await listen({ pendingBytes: 3_000 });
    const [one, two] = [await open(), await open()];
    const half = (id: number): Buffer => frame(FRAME.DATA, 0, id, Buffer.concat([Buffer.from([0]), u32(5_000), Buffer.alloc(2_000)]));
    one.send(headers(1, ECHO), half(1));
    await one.settle(1);
    two.send(headers(1, ECHO), half(1));
    const answer = await two.frame(FRAME.HEADERS, (f) => f.flags === LAST);
    expect(answer.payload.toString("latin1")).toContain("grpc-status\x018");
    one.send(frame(FRAME.DATA, 0, 1, Buffer.alloc(500))); // What was refused is not counted.
    await one.settle(2);
    one.send(frame(FRAME.RST_STREAM, 0, 1, u32(8)));
    await one.settle(3);
    two.send(headers(3, ECHO), half(3));
    await two.settle(4);
    expect([...one.frames, ...two.frames].filter((f) => f.flags === LAST)).toEqual([answer]);
  });

  test("and counts no bytes that waited and were taken", async () => {
    await listen({ pendingBytes: 3_000 });
    const client = await open();
    client.send(headers(1, callBlock("/t/Hold")), message(1, Buffer.alloc(1)), message(1, Buffer.alloc(2_000)));
    client.send(headers(3, callBlock("/t/Hold")), message(3, Buffer.alloc(1)));
    await client.settle(1);
    // Its handler takes what waited, and pauses again.
    held[0]?.resume();
    client.send(message(3, Buffer.alloc(2_000)));
    await client.settle(2);
    expect(client.frames.filter((f) => f.flags === LAST)).toEqual([]);
  });

  test("and says so once, whatever was under way", async () => {
    const client = await open();
    const late = Array.from({ length: 20 }, () => message(1, Buffer.alloc(100)));
    client.send(headers(1, callBlock("/t/Keep"), LAST), ...late, message(1, Buffer.alloc(1), FLAG.END_STREAM));
    client.send(
      headers(3, callBlock("/t/None")),
      message(3, Buffer.alloc(1)),
      headers(3, ECHO, LAST),
      frame(FRAME.RST_STREAM, 0, 3, u32(8)),
    );
    await client.settle(1);
    expect(client.frames.filter((f) => f.type === FRAME.RST_STREAM).map((f) => f.streamId)).toEqual([1, 3]);
  });
});

test("what it does not know is ignored, and so are priorities", async () => {
  const client = await open();
  client.send(frame(0x42, 0xff, 9, Buffer.alloc(100)), frame(FRAME.PRIORITY, 0, 5, [0, 0, 0, 0, 1]), frame(FRAME.GOAWAY, 0, 0, u32(0, 0)));
  client.send(headers(1, Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), ECHO]), FLAG.END_HEADERS | FLAG.PRIORITY));
  client.send(frame(FRAME.DATA, FLAG.PADDED, 1, [3, 0, 0, 0, 0, 1, 0x61, 0, 0, 0]));
  expect((await client.frame(FRAME.DATA)).payload.toString()).toBe("\0\0\0\0\x01a");
});

test("a header block may come in several frames", async () => {
  const client = await open();
  client.send(headers(1, ECHO.subarray(0, 9), FLAG.END_STREAM), frame(FRAME.CONTINUATION, 0, 1, ECHO.subarray(9, 20)));
  client.send(frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 1, ECHO.subarray(20)));
  await client.frame(FRAME.HEADERS, (f) => f.flags === LAST);
});

test("a client that makes its table smaller is told that none is used", async () => {
  const client = await open(Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, setting(SETTING.HEADER_TABLE_SIZE, 0))]));
  client.send(headers(1, ECHO, LAST), headers(3, ECHO, LAST));
  expect((await client.frame(FRAME.HEADERS, (f) => f.streamId === 1)).payload[0]).toBe(0x20);
  expect((await client.frame(FRAME.HEADERS, (f) => f.streamId === 3)).payload[0]).toBe(0x88);
});

test.each([
  { name: "its end", late: (id: number) => frame(FRAME.DATA, FLAG.END_STREAM, id) },
  { name: "a reset", late: (id: number) => frame(FRAME.RST_STREAM, 0, id, u32(ERROR.CANCEL)) },
])("a call is over when the server ends it, and $name that the client sent meanwhile means nothing", async ({ late }) => {
  const client = await open();
  const ids = [1, 3, 5, 2_047];
  for (const id of ids) {
    client.send(headers(id, callBlock("/t/Done")), message(id, Buffer.alloc(0)));
    expect(await client.reset(id)).toBe(ERROR.NO_ERROR);
  }
  expect(closed).toBe(ids.length);
  for (const id of ids) client.send(late(id));
  client.send(headers(3_001, ECHO), message(3_001, Buffer.from("hello"), FLAG.END_STREAM));
  await client.frame(FRAME.HEADERS, (f) => f.streamId === 3_001 && f.flags === LAST);
  const answers = client.frames.filter((f) => f.type === FRAME.RST_STREAM).map((f) => f.streamId);
  expect(answers).toEqual(ids);
});

describe("in time", () => {
  test.each([
    { name: "without a preface", limits: { prefaceMs: 50 }, first: PREFACE.subarray(0, 10) },
    { name: "silent", limits: { silenceMs: 50, pingMs: 50 }, first: undefined },
  ])("a connection $name is closed", async ({ limits, first }) => {
    await listen(limits);
    const client = await open(first);
    await until("it is closed", () => client.closed);
  });

  test("half a frame ends the connection", async () => {
    await listen({ frameMs: 50 });
    const client = await open();
    client.send(headers(1, ECHO).subarray(0, 12));
    expect(await client.goAway()).toBe(ERROR.ENHANCE_YOUR_CALM);
  });

  test("an answer for which no window is opened is given up", async () => {
    await listen({ stallMs: 50 });
    const client = await open(Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, setting(SETTING.INITIAL_WINDOW_SIZE, 0))]));
    client.send(headers(1, ECHO), message(1, Buffer.from("hello")));
    expect(await client.reset(1)).toBe(ERROR.CANCEL);
  });
});

/** A client that gives calls far more room than its connection has; with HTTP/2's default that is one byte short of 64 KiB. */
const WIDE_CALLS = Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, setting(SETTING.INITIAL_WINDOW_SIZE, 2 ** 24))]);
const CONNECTION_BYTES = 65_535;

test.each([
  { name: "messages that fit a frame", bytes: 4_000, count: 30 },
  { name: "messages of several frames", bytes: 15_000, count: 8, joined: 4 },
])("no more is sent than the connection's window takes, and the rest when it opens: $name", async ({ bytes, count, joined = 1 }) => {
  const client = await open(WIDE_CALLS);
  client.send(headers(1, ECHO));
  const content = Buffer.concat([Buffer.from([0]), u32(bytes * joined), Buffer.alloc(bytes * joined)]);
  for (let i = 0; i < count / joined; i++) {
    for (let at = 0; at < content.length; at += 16_000) client.send(frame(FRAME.DATA, 0, 1, content.subarray(at, at + 16_000)));
  }
  const total = (content.length * count) / joined;
  const sent = (): number => client.frames.reduce((sum, f) => sum + (f.type === FRAME.DATA ? f.payload.length : 0), 0);
  await client.settle(1);
  expect(sent()).toBeGreaterThan(CONNECTION_BYTES - content.length);
  expect(sent()).toBeLessThanOrEqual(CONNECTION_BYTES);
  client.send(frame(FRAME.WINDOW_UPDATE, 0, 0, u32(total - CONNECTION_BYTES - 1)));
  await client.settle(2);
  expect(sent()).toBe(total - 1);
  client.send(frame(FRAME.WINDOW_UPDATE, 0, 0, u32(1)));
  await until("all is there", () => sent() === total);
});

describe("work for nothing", () => {
  /** Nearly nothing is forgiven with time: a busy machine gives a flood little of it. */
  const CALM = { wasteMs: 20, wasteShare: 0.001 };
  test.each([
    {
      name: "calls that are reset at once",
      flood: (i: number) => [headers(2 * i + 1, ECHO), frame(FRAME.RST_STREAM, 0, 2 * i + 1, u32(8))],
    },
    { name: "pings", flood: () => [frame(FRAME.PING, 0, 0, u32(0, 0))] },
    { name: "settings", flood: () => [SETTINGS] },
    { name: "empty frames", flood: (i: number) => [...(i === 0 ? [headers(1, ECHO)] : []), frame(FRAME.DATA, 0, 1)] },
    { name: "frames that it does not know", flood: () => [frame(0x42, 0, 0)] },
    { name: "unknown methods", flood: (i: number) => [headers(2 * i + 1, callBlock("/t/None"), LAST)] },
  ])("ends in ENHANCE_YOUR_CALM: $name", async ({ flood }) => {
    await listen(CALM);
    const client = await open();
    let i = 0;
    await until("it is closed", () => {
      // In one piece: what the client does for each frame takes the time that the server is to waste.
      client.send(...Array.from({ length: 4_000 }, () => flood(i++)).flat());
      return client.closed;
    });
    expect(client.frames.some((f) => f.type === FRAME.GOAWAY && f.payload.readUInt32BE(4) === ERROR.ENHANCE_YOUR_CALM)).toBe(true);
  });

  test("is not what an Envoy does, which resets each of its calls after its answer", async () => {
    await listen(CALM);
    const client = await open();
    for (let i = 0; i < 4_000; i += 100) {
      for (let id = 2 * i + 1; id < 2 * (i + 100); id += 2) client.send(headers(id, callBlock("/t/Done")), message(id, Buffer.alloc(300)));
      await client.frame(FRAME.HEADERS, (f) => f.streamId === 2 * (i + 100) - 1);
      for (let id = 2 * i + 1; id < 2 * (i + 100); id += 2) client.send(frame(FRAME.RST_STREAM, 0, id, u32(8)));
      client.frames.length = 0;
    }
    await client.settle(1);
    expect(closed).toBe(4_000);
  });

  test("is not what clients do that go away while their calls wait", async () => {
    await listen(CALM);
    const client = await open();
    for (let i = 0; i < 40_000; ) {
      const calls: Buffer[] = [];
      for (const last = i + 1_000; i < last; i++) {
        const id = 2 * i + 1;
        calls.push(headers(id, callBlock("/t/Keep")), message(id, Buffer.alloc(300)), frame(FRAME.RST_STREAM, 0, id, u32(8)));
      }
      client.send(...calls);
      await until("all are over", () => closed === i || client.closed);
      expect(closed).toBe(i);
    }
  });
});

test("what a peer does not read bounds what is read of it", async () => {
  await listen({ backlogBytes: 64 * 1024, wasteMs: 1e9 });
  const client = await open();
  await client.settle(1);
  client.socket.pause();
  const pings = Buffer.concat(Array.from({ length: 10_000 }, () => frame(FRAME.PING, 0, 0, u32(0, 2))));
  // Far more than the buffers of both ends of the socket hold.
  for (let i = 0; i < 240; i++) client.socket.write(pings);
  // The server answers another so often that it could have read all of that meanwhile.
  const other = await open();
  for (let i = 0; i < 100; i++) await other.settle(1_000 + i);
  expect(client.socket.writableLength).toBeGreaterThan(1_000_000);
  // Else looking for the last answer among so many takes longer than getting them.
  client.onFrame = () => {
    if (client.frames.length > 1_000) client.frames.splice(0, 900);
  };
  client.socket.resume();
  await client.settle(3);
});

test("a server that ends takes what was sent before it was heard, and no more", async () => {
  const client = await open();
  client.send(headers(1, ECHO));
  await until("it is open", () => server.openStreams() === 1);
  const drained = server.drain(5_000);
  const first = await client.frame(FRAME.GOAWAY);
  expect(first.payload.readUInt32BE(0)).toBe(2 ** 31 - 1);
  client.send(headers(3, ECHO), message(3, Buffer.from("in time"), FLAG.END_STREAM));
  const ping = await client.frame(FRAME.PING);
  client.send(frame(FRAME.PING, FLAG.ACK, 0, ping.payload));
  const last = await client.frame(FRAME.GOAWAY, (f) => f !== first);
  expect([last.payload.readUInt32BE(0), last.payload.readUInt32BE(4)]).toEqual([3, ERROR.NO_ERROR]);
  client.send(headers(5, ECHO));
  expect(await client.reset(5)).toBe(ERROR.REFUSED_STREAM);
  client.send(message(1, Buffer.from("old"), FLAG.END_STREAM));
  expect(await drained).toBe(true);
  expect(client.frames.filter((f) => f.type === FRAME.DATA).map((f) => f.payload.subarray(5).toString())).toEqual(["in time", "old"]);
});

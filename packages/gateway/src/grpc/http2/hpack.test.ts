import { once } from "node:events";
import { connect } from "node:http2";
import { createServer as createTcpServer } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME } from "./constants.ts";
import { ConnectionError } from "./errors.ts";
import { FrameReader } from "./frame-reader.ts";
import { type HeaderField, HpackDecoder } from "./hpack.ts";

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ""), "hex");

function decode(decoder: HpackDecoder, block: Buffer): string[] {
  const fields: string[] = [];
  decoder.decode(block, ({ name, value }: HeaderField) => fields.push(`${name}: ${value}`));
  return fields;
}

// The examples of RFC 7541, appendix C.3 and C.4: three requests on one connection, first without and then with Huffman's code.
const FIRST = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const SECOND = [...FIRST, "cache-control: no-cache"];
const THIRD = [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"];
const REQUESTS = {
  "C.3": [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
  ],
  "C.4": [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
  ],
};

test.each(Object.entries(REQUESTS))("reads the requests of RFC 7541, %s", (_, blocks) => {
  const decoder = new HpackDecoder();
  expect(blocks.map((block) => decode(decoder, hex(block)))).toEqual([FIRST, SECOND, THIRD]);
});

// C.5 and C.6: three responses with a table of 256 bytes, out of which entries fall. The table's size is told first here.
const DATES = ["Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT"];
const PRIVATE = "cache-control: private";
const LOCATION = "location: https://www.example.com";
const COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const RESPONSES = {
  "C.5": [
    `3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e
     1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    "4803 3330 37c1 c0bf",
    `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153
     444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
  ],
  "C.6": [
    `3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b
     97c8 e9ae 82ae 43d3`,
    "4883 640e ffc1 c0bf",
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b
     3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
  ],
};

test.each(Object.entries(RESPONSES))("reads the responses of RFC 7541, %s", (_, blocks) => {
  const decoder = new HpackDecoder();
  expect(blocks.map((block) => decode(decoder, hex(block)))).toEqual([
    [":status: 302", PRIVATE, `date: ${DATES[0]}`, LOCATION],
    [":status: 307", PRIVATE, `date: ${DATES[0]}`, LOCATION],
    [":status: 200", PRIVATE, `date: ${DATES[1]}`, LOCATION, "content-encoding: gzip", COOKIE],
  ]);
});

test.each([
  { name: "an index of zero", block: "80" },
  { name: "an index beyond the table", block: "be" },
  { name: "an integer without end", block: "ff ffff ffff ffff" },
  { name: "an integer that is too large", block: "ff ffff ffff 7f" },
  { name: "an integer that is cut short", block: "ff" },
  { name: "a string that is longer than the block", block: "40 05 61" },
  { name: "a literal without a value", block: "40 01 61" },
  { name: "a size above what was offered", block: "3fe2 1f" },
  { name: "a size update behind a header", block: "82 20" },
  { name: "the end of strings in a string", block: "00 84 ffff ffff 00" },
  { name: "a padding of eight bits", block: "00 82 1fff 00" },
  { name: "a padding of zeros", block: "00 81 18 00" },
])("refuses $name", ({ block }) => {
  expect(() => decode(new HpackDecoder(), hex(block))).toThrow(ConnectionError);
});

test("an entry that is larger than the table empties it", () => {
  const decoder = new HpackDecoder();
  decode(decoder, hex("40 01 61 01 62"));
  expect(decode(decoder, hex("be"))).toEqual(["a: b"]);
  decode(decoder, Buffer.concat([hex("40 01 61 7f 811f"), Buffer.alloc(4_096, 0x78)]));
  expect(() => decode(decoder, hex("be"))).toThrow("no header 62");
});

test("any bytes are read or refused, and never more than they say", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }), (blocks) => {
      const decoder = new HpackDecoder();
      try {
        for (const block of blocks) decode(decoder, Buffer.from(block));
      } catch (error) {
        expect(error).toBeInstanceOf(ConnectionError);
      }
    }),
    { numRuns: 2_000 },
  );
});

/** What a client of Node (nghttp2) writes for requests with these headers, frame by frame, and what our decoder reads. */
async function throughNghttp2(requests: readonly Record<string, string>[]): Promise<string[][]> {
  const decoder = new HpackDecoder();
  const read: string[][] = [];
  const reader = new FrameReader({
    onData: () => undefined,
    onFrame: (type, flags, _id, payload) => {
      // Node's client adds no priority where it is not asked to.
      if (type === FRAME.HEADERS) read.push(decode(decoder, payload.subarray((flags & 0x20) !== 0 ? 5 : 0)));
    },
  });
  let preface = 24;
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(hex("000000 04 00 00000000"));
    socket.on("data", (chunk: Buffer) => {
      const skipped = Math.min(preface, chunk.length);
      preface -= skipped;
      reader.push(chunk.subarray(skipped));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = connect(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
  session.on("error", () => undefined);
  await once(session, "remoteSettings");
  for (const headers of requests) session.request({ ":path": "/", ...headers }).on("error", () => undefined);
  while (read.length < requests.length) await new Promise((resolve) => setImmediate(resolve));
  session.destroy();
  server.close();
  return read;
}

describe("against nghttp2", () => {
  test("every byte that a value may have, by Huffman's code", async () => {
    const value = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).filter((c) => /[\t -~\x80-\xff]/.test(c));
    const requests = value.map((c) => ({ "x-test": `e${c.repeat(3)}e` }));
    const read = await throughNghttp2(requests);
    for (const [i, { "x-test": want }] of requests.entries()) expect(read[i]).toContain(`x-test: ${want}`);
  });

  test("a table that fills and whose entries fall out", { timeout: 60_000 }, async () => {
    const name = fc.stringMatching(/^x-[a-z0-9]{1,12}$/);
    const text = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)), maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.dictionary(name, text, { maxKeys: 6 }), { minLength: 1, maxLength: 40 }), async (requests) => {
        const read = await throughNghttp2(requests);
        for (const [i, headers] of requests.entries()) {
          const own = (read[i] ?? []).filter((field) => field.startsWith("x-"));
          expect(own.sort()).toEqual(
            Object.entries(headers)
              .map(([key, value]) => `${key}: ${value}`)
              .sort(),
          );
        }
      }),
      { numRuns: 15 },
    );
  });
});

import { expect, test } from "vitest";
import { envoy } from "#proto";
import { HeldBytes } from "./held-body.ts";
import { HOLD_LIMITS, Holds } from "./holds.ts";
import { RequestStream, type StreamDeps } from "./stream.ts";
import type { GrpcStream } from "./transport.ts";
import { Watches } from "./watches.ts";

const { ProcessingRequest } = envoy.service.ext_proc.v3;
type Request = envoy.service.ext_proc.v3.ProcessingRequest.$Properties;

/** A call whose client may take no more for a while; what arrives while it is held up is delivered as the transports do it. */
class Call implements GrpcStream {
  handler: RequestStream | undefined;
  room = true;
  readonly written: Uint8Array[] = [];
  readonly #waiting: Buffer[] = [];
  #paused = false;

  write(message: Uint8Array): boolean {
    this.written.push(message);
    return this.room;
  }

  end(): void {
    throw new Error("nothing has ended");
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (!this.#paused) {
      const message = this.#waiting.shift();
      if (message === undefined) return;
      this.handler?.onMessage(message);
    }
  }

  arrives(request: Request): void {
    const message = Buffer.from(ProcessingRequest.encode(request).finish());
    if (this.#paused) this.#waiting.push(message);
    else this.handler?.onMessage(message);
  }
}

const HEAD = Object.entries({ ":method": "POST", ":path": "/v1/completions" }).map(([key, value]) => ({
  key,
  rawValue: Buffer.from(value),
}));

test("an answer of very many pieces goes back in order once Envoy takes it again", () => {
  const call = new Call();
  const deps = { now: () => 0, onDefect: (error: unknown) => expect(error).toBeUndefined() } as unknown as StreamDeps;
  call.handler = new RequestStream(call, deps, { bodies: new HeldBytes(0), watches: new Watches(), holds: new Holds(HOLD_LIMITS) });
  call.arrives({ protocolConfig: { requestBodyMode: 4, responseBodyMode: 4 }, requestHeaders: { headers: { headers: HEAD } } });
  call.room = false;
  const pieces = 30_000;
  for (let i = 0; i < pieces; i++) call.arrives({ responseBody: { body: Buffer.from(`${i}`) } });
  expect(call.written).toHaveLength(1);
  call.room = true;
  call.handler.onDrain();
  expect(call.written).toHaveLength(pieces);
  const texts = call.written.map((w) => Buffer.from(w).toString("latin1"));
  expect(texts.findIndex((text, i) => !text.includes(`${i}`))).toBe(-1);
});

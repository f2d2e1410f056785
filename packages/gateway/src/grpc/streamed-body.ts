import { HeldBody, type HeldBytes } from "./held-body.ts";
import { Relay } from "./relay.ts";
import type { GrpcStream } from "./transport.ts";

/**
 * The body of a request whose Envoy sends it in pieces and keeps nothing (`FULL_DUPLEX_STREAMED`): it is held until the request is decided,
 * and then given back.
 */
export class StreamedBody {
  readonly #body: HeldBody;
  readonly #relay: Relay;

  /** @param onGiven - called once the whole body is given back */
  constructor(stream: GrpcStream, held: HeldBytes, onGiven: () => void) {
    this.#body = new HeldBody(held);
    this.#relay = new Relay(stream, "requestBody", () => {
      this.#body.drop();
      onGiven();
    });
  }

  /** Whether the request is decided, and its body on its way back. */
  get isGiving(): boolean {
    return this.#relay.busy;
  }

  /** Bytes that are held. */
  get bytes(): number {
    return this.#body.bytes;
  }

  /** Takes a piece of a body of at most `limit` bytes, or tells that there is no memory for it. */
  take(piece: Buffer, limit: number): boolean {
    return this.#body.add(piece, limit);
  }

  /** What is held. */
  whole(): Buffer {
    return this.#body.whole();
  }

  /** The request is decided: gives back what is held, which is all. */
  release(): void {
    this.#relay.give(this.#body.whole(), true);
  }

  onDrain(): void {
    this.#relay.onDrain();
  }

  /** Forgets all of it. */
  drop(): void {
    this.#relay.drop();
    this.#body.drop();
  }
}

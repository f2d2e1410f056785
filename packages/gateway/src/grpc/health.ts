import { grpc } from "#proto";
import { GRPC_STATUS } from "./status.ts";
import type { GrpcHandler, GrpcMethods, GrpcStream } from "./transport.ts";

const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;
const { ServingStatus } = HealthCheckResponse;
type Status = keyof typeof ServingStatus;

const encoded = (status: Status): Uint8Array => HealthCheckResponse.encode({ status: ServingStatus[status] }).finish();
const RESPONSE = { SERVING: encoded("SERVING"), NOT_SERVING: encoded("NOT_SERVING"), SERVICE_UNKNOWN: encoded("SERVICE_UNKNOWN") };

/** gRPC's health protocol, for the whole server (`""`) and for one service. */
export class Health {
  #serving = false;
  readonly #service: string;
  readonly #watches = new Map<GrpcStream, () => void>();

  constructor(service: string) {
    this.#service = service;
  }

  /** Tells every watcher where it differs from what was said before. */
  set(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const tell of [...this.#watches.values()]) tell();
  }

  /** Ends every watch, so that the server can close. */
  close(): void {
    this.set(false);
    for (const stream of [...this.#watches.keys()]) stream.end(GRPC_STATUS.OK);
  }

  /** `grpc.health.v1.Health`. */
  readonly methods: GrpcMethods = new Map([
    ["/grpc.health.v1.Health/Check", (stream: GrpcStream) => this.#call(stream, (known) => this.#check(stream, known))],
    ["/grpc.health.v1.Health/Watch", (stream: GrpcStream) => this.#call(stream, (known) => this.#watch(stream, known))],
  ]);

  /** Both methods take one request. */
  #call(stream: GrpcStream, answer: (known: boolean) => void): GrpcHandler {
    let asked = false;
    return {
      onMessage: (message) => {
        if (asked) return stream.end(GRPC_STATUS.INTERNAL, "this method takes one message");
        asked = true;
        const service = serviceOf(message);
        if (service === undefined) return stream.end(GRPC_STATUS.INTERNAL, "the message is no HealthCheckRequest");
        answer(service === "" || service === this.#service);
      },
      onEnd: () => {
        if (!asked) stream.end(GRPC_STATUS.INTERNAL, "this method takes one message");
      },
      onClosed: () => this.#watches.delete(stream),
    };
  }

  #check(stream: GrpcStream, known: boolean): void {
    if (known) stream.write(this.#response());
    if (known) stream.end(GRPC_STATUS.OK);
    else stream.end(GRPC_STATUS.NOT_FOUND, "unknown service");
  }

  #watch(stream: GrpcStream, known: boolean): void {
    this.#watches.set(stream, () => {
      if (known) stream.write(this.#response());
    });
    stream.write(known ? this.#response() : RESPONSE.SERVICE_UNKNOWN);
  }

  #response(): Uint8Array {
    return this.#serving ? RESPONSE.SERVING : RESPONSE.NOT_SERVING;
  }
}

function serviceOf(message: Buffer): string | undefined {
  try {
    return HealthCheckRequest.decode(message).service ?? "";
  } catch {
    return undefined;
  }
}

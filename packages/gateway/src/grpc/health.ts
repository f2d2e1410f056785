import { grpc } from "#proto";
import { GRPC_STATUS } from "./status.ts";
import type { GrpcHandler, GrpcMethods, GrpcStream } from "./transport.ts";

const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;
const { ServingStatus } = HealthCheckResponse;
type Status = keyof typeof ServingStatus;

const encoded = (status: Status): Uint8Array => HealthCheckResponse.encode({ status: ServingStatus[status] }).finish();
const RESPONSE = { SERVING: encoded("SERVING"), NOT_SERVING: encoded("NOT_SERVING"), SERVICE_UNKNOWN: encoded("SERVICE_UNKNOWN") };

/** What an endpoint picker of the Gateway API Inference Extension is asked for besides: whether it answers, and whether it is ready. */
const LIVENESS = "liveness";
const READINESS = "readiness";

/** gRPC's health protocol, for the whole server (`""`), for one service and for what endpoint pickers are asked for. */
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
    ["/grpc.health.v1.Health/Check", (stream: GrpcStream) => this.#call(stream, (service) => this.#check(stream, service))],
    ["/grpc.health.v1.Health/Watch", (stream: GrpcStream) => this.#call(stream, (service) => this.#watch(stream, service))],
  ]);

  /** Both methods take one request. */
  #call(stream: GrpcStream, answer: (service: string) => void): GrpcHandler {
    let asked = false;
    return {
      onMessage: (message) => {
        if (asked) return stream.end(GRPC_STATUS.INTERNAL, "this method takes one message");
        asked = true;
        const service = serviceOf(message);
        if (service === undefined) return stream.end(GRPC_STATUS.INTERNAL, "the message is no HealthCheckRequest");
        answer(service);
      },
      onEnd: () => {
        if (!asked) stream.end(GRPC_STATUS.INTERNAL, "this method takes one message");
      },
      onClosed: () => this.#watches.delete(stream),
    };
  }

  #check(stream: GrpcStream, service: string): void {
    const response = this.#response(service);
    if (response === undefined) {
      stream.end(GRPC_STATUS.NOT_FOUND, "unknown service");
      return;
    }
    stream.write(response);
    stream.end(GRPC_STATUS.OK);
  }

  #watch(stream: GrpcStream, service: string): void {
    const isSteady = service === LIVENESS || this.#response(service) === undefined;
    const tell = (): void => {
      stream.write(this.#response(service) ?? RESPONSE.SERVICE_UNKNOWN);
    };
    this.#watches.set(stream, isSteady ? () => undefined : tell);
    tell();
  }

  /** `undefined` for a service that is not here. */
  #response(service: string): Uint8Array | undefined {
    if (service === LIVENESS) return RESPONSE.SERVING;
    if (service !== "" && service !== this.#service && service !== READINESS) return undefined;
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

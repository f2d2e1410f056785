import {
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { grpc } from "#proto";
import { EXT_PROC_SERVICE_NAME } from "./service.ts";

const { ServingStatus } = grpc.health.v1.HealthCheckResponse;
type HealthRequest = grpc.health.v1.HealthCheckRequest.$Properties;
type HealthResponse = grpc.health.v1.HealthCheckResponse.$Properties;

/** gRPC's health protocol, for the whole server (`""`) and for the ext_proc service. */
export class Health {
  #serving = false;
  readonly #watchers = new Set<() => void>();
  readonly #calls = new Set<ServerWritableStream<HealthRequest, HealthResponse>>();

  /** Tells every watcher where it differs from what was said before. */
  set(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const tell of this.#watchers) tell();
  }

  /** Ends every watch, so that the server can close. */
  close(): void {
    this.set(false);
    for (const call of this.#calls) call.end();
  }

  /** The methods of {@link HEALTH_SERVICE}. */
  readonly service: UntypedServiceImplementation = {
    check: (call: ServerUnaryCall<HealthRequest, HealthResponse>, reply: sendUnaryData<HealthResponse>) => {
      if (known(call.request)) reply(null, this.#status());
      else reply({ code: status.NOT_FOUND, details: "unknown service" });
    },
    watch: (call: ServerWritableStream<HealthRequest, HealthResponse>) => {
      const tell = (): void => void call.write(known(call.request) ? this.#status() : { status: ServingStatus.SERVICE_UNKNOWN });
      const stop = (): void => {
        this.#watchers.delete(tell);
        this.#calls.delete(call);
      };
      this.#watchers.add(tell);
      this.#calls.add(call);
      call.on("cancelled", stop);
      call.on("close", stop);
      call.on("error", stop);
      tell();
    },
  };

  #status(): HealthResponse {
    return { status: this.#serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING };
  }
}

function known({ service = "" }: HealthRequest): boolean {
  return service === "" || service === EXT_PROC_SERVICE_NAME;
}

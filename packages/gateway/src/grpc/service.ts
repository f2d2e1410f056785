import type { ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import { grpc } from "#proto";
import type { Message } from "../phases/types.ts";
import { decodeMessage } from "./codec.ts";

const { HealthCheckRequest, HealthCheckResponse } = grpc.health.v1;

/** The gRPC service that Envoy calls. */
export const EXT_PROC_SERVICE_NAME = "envoy.service.ext_proc.v3.ExternalProcessor";

/** Replies are encoded before they reach gRPC: what is always the same is encoded once. */
const asIs = (bytes: Buffer): Buffer => bytes;

/** `envoy.service.ext_proc.v3.ExternalProcessor`. */
export const EXT_PROC_SERVICE: ServiceDefinition<UntypedServiceImplementation> = {
  process: {
    path: `/${EXT_PROC_SERVICE_NAME}/Process`,
    requestStream: true,
    responseStream: true,
    requestSerialize: () => {
      throw new Error("the gateway calls no ext_proc service");
    },
    requestDeserialize: (bytes: Buffer): Message => decodeMessage(bytes),
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
};

const health = {
  requestSerialize: (r: grpc.health.v1.HealthCheckRequest.$Properties): Buffer => Buffer.from(HealthCheckRequest.encode(r).finish()),
  requestDeserialize: (bytes: Buffer) => HealthCheckRequest.decode(bytes),
  responseSerialize: (r: grpc.health.v1.HealthCheckResponse.$Properties): Buffer => Buffer.from(HealthCheckResponse.encode(r).finish()),
  responseDeserialize: (bytes: Buffer) => HealthCheckResponse.decode(bytes),
};

/** `grpc.health.v1.Health`. */
export const HEALTH_SERVICE: ServiceDefinition<UntypedServiceImplementation> = {
  check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, ...health },
  watch: { path: "/grpc.health.v1.Health/Watch", requestStream: false, responseStream: true, ...health },
};

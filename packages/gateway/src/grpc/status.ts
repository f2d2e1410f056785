/** gRPC's status codes, as far as this server gives them. */
export const GRPC_STATUS = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
} as const;

export type GrpcStatus = (typeof GRPC_STATUS)[keyof typeof GRPC_STATUS];

/** A `grpc-message`: UTF-8, with `%` and all that is not printable ASCII escaped. */
export function escapeDetails(details: string): string {
  return details.replace(/[^ -$&-~]+/gu, (text) =>
    [...Buffer.from(text)].map((b) => `%${b.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

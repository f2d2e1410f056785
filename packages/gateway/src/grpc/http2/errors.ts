import { ERROR, type ErrorCode } from "./constants.ts";

/** What a peer did that ends the connection, with the code that GOAWAY tells it. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function protocolError(message: string): ConnectionError {
  return new ConnectionError(ERROR.PROTOCOL_ERROR, message);
}

export function frameSizeError(message: string): ConnectionError {
  return new ConnectionError(ERROR.FRAME_SIZE_ERROR, message);
}

export function compressionError(message: string): ConnectionError {
  return new ConnectionError(ERROR.COMPRESSION_ERROR, message);
}

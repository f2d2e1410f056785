import { MAX_HEADER_LIST_BYTES, MAX_STREAMS, WINDOW_BYTES } from "../transport.ts";
import { DEFAULT_FRAME_BYTES, DEFAULT_HEADER_TABLE_BYTES, DEFAULT_WINDOW_BYTES, ERROR, MAX_31_BITS, SETTING } from "./constants.ts";
import { ConnectionError, frameSizeError, protocolError } from "./errors.ts";

/** What a peer takes. */
export interface PeerSettings {
  headerTableBytes: number;
  windowBytes: number;
  frameBytes: number;
}

export function defaultSettings(): PeerSettings {
  return { headerTableBytes: DEFAULT_HEADER_TABLE_BYTES, windowBytes: DEFAULT_WINDOW_BYTES, frameBytes: DEFAULT_FRAME_BYTES };
}

/** The payload of the SETTINGS of this side. The table of headers and the size of frames stay at their defaults. */
export const OWN_SETTINGS: Buffer = encode([
  [SETTING.MAX_CONCURRENT_STREAMS, MAX_STREAMS],
  [SETTING.INITIAL_WINDOW_SIZE, WINDOW_BYTES],
  [SETTING.MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST_BYTES],
]);

function encode(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const bytes = Buffer.alloc(settings.length * 6);
  for (const [i, [id, value]] of settings.entries()) {
    bytes.writeUInt16BE(id, i * 6);
    bytes.writeUInt32BE(value, i * 6 + 2);
  }
  return bytes;
}

/**
 * Takes a peer's settings over; what is unknown or does not concern a server is ignored.
 *
 * @throws ConnectionError for values that none may have
 */
export function applySettings(settings: PeerSettings, payload: Buffer): void {
  if (payload.length % 6 !== 0) throw frameSizeError("SETTINGS of a length that is no multiple of six");
  for (let at = 0; at < payload.length; at += 6) {
    const value = payload.readUInt32BE(at + 2);
    switch (payload.readUInt16BE(at)) {
      case SETTING.HEADER_TABLE_SIZE:
        settings.headerTableBytes = value;
        break;
      case SETTING.ENABLE_PUSH:
        if (value > 1) throw protocolError("ENABLE_PUSH is neither 0 nor 1");
        break;
      case SETTING.INITIAL_WINDOW_SIZE:
        if (value > MAX_31_BITS) throw new ConnectionError(ERROR.FLOW_CONTROL_ERROR, "a window of more than 31 bits");
        settings.windowBytes = value;
        break;
      case SETTING.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value >= 2 ** 24) throw protocolError("a frame size out of its bounds");
        settings.frameBytes = value;
        break;
    }
  }
}

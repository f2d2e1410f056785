/** What a connection may take; times in milliseconds. */
export interface Limits {
  /** From the connection until the client's preface is there. */
  readonly prefaceMs: number;
  /** For a frame or a header block that has begun to be whole. */
  readonly frameMs: number;
  /** For a peer that takes nothing of what is written, or that opens no window for an answer. */
  readonly stallMs: number;
  /** Of silence, before the peer is asked whether it is there, and after that for its answer. */
  readonly silenceMs: number;
  readonly pingMs: number;
  /** For a client to hear that the server ends. */
  readonly noticeMs: number;
  /** Bytes of one header block as it comes, and of frames that it comes in (CONTINUATION). */
  readonly headerBlockBytes: number;
  readonly headerBlockFrames: number;
  /** Bytes of messages that are not whole or wait, of all calls of all connections together; a call that would have more is refused. */
  readonly pendingBytes: number;
  /** Above so many bytes that the peer has not taken, nothing more is read and no answer is written. */
  readonly backlogBytes: number;
  /**
   * Work that came to nothing (see `Waste`): so many milliseconds of it at once, and this share of all time, before a connection is closed.
   */
  readonly wasteMs: number;
  readonly wasteShare: number;
}

export const LIMITS: Limits = {
  prefaceMs: 10_000,
  frameMs: 30_000,
  stallMs: 60_000,
  silenceMs: 60_000,
  pingMs: 20_000,
  noticeMs: 1_000,
  headerBlockBytes: 64 * 1024,
  headerBlockFrames: 32,
  pendingBytes: 256 * 1024 * 1024, // A quarter of what the pod may have: an Envoy opens a connection for each of its threads.
  backlogBytes: 1024 * 1024,
  wasteMs: 2_000,
  wasteShare: 0.2,
};

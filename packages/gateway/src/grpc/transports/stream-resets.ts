/**
 * Stream resets that one connection may see at once, and per second. An Envoy that is not told otherwise ends every ext_proc stream with
 * RST_STREAM, and Node closes a connection after 1,000 of them (then 33 a second), failing the requests that are under way on it.
 */
export const STREAM_RESETS = { streamResetBurst: 1_000_000, streamResetRate: 100_000 } as const;

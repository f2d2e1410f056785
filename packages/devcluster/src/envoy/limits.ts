/**
 * Most bytes of a request body that Envoy buffers: the largest body that the gateway lets pass (25 MiB of audio) with room to spare,
 * so that what is too large is refused by the gateway, in words. Envoy's default is 1 MiB, Envoy Gateway's 32 KiB.
 */
export const BUFFER_LIMIT_BYTES: number = 32 * 1024 * 1024;

/** Longer than every wait that the gateway allows itself, which is its `--update-hold` of 30 s. Envoy's default is 0.2 s. */
export const EXT_PROC_TIMEOUT = "45s";

/**
 * A request has to have come whole after this time, and to have been routed: a client that stops amid its body holds Envoy's memory until then. The
 * largest bodies come in it at 0.9 Mbit/s and more. Longer than {@link EXT_PROC_TIMEOUT}; Envoy's default is to wait for ever.
 */
export const REQUEST_TIMEOUT = "300s";

/** An engine may think this long before it sends the next byte. Envoy's default is five minutes. */
export const STREAM_IDLE_TIMEOUT = "3600s";

/**
 * Shorter than the time for which engines keep an idle connection open (uvicorn and Node: 5 s), so that Envoy never sends a request
 * into a connection that the engine is closing; such a reset cannot be retried safely.
 */
export const ENGINE_IDLE_TIMEOUT = "3s";

/** Envoy's circuit breakers: the defaults (1,024 requests, 3 retries at once) refuse ordinary load. */
export const CIRCUIT_BREAKERS = {
  thresholds: [
    {
      max_connections: 100_000,
      max_pending_requests: 100_000,
      max_requests: 100_000,
      max_retries: 100_000,
    },
  ],
} as const;

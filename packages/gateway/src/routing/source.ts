/** Where routes come from: an endpoints file, or a cluster. */
export interface RoutingSource {
  /** Why requests should not come yet, in words for whoever runs the gateway; `undefined` once they may. */
  notReady(): string | undefined;
  /** Follows what it follows until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

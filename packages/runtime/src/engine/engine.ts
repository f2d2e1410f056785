/** A name that the engine answers to. */
export interface EngineModel {
  readonly id: string;
  /** Path or repository that the weights came from, as it was given to the engine. */
  readonly root: string | undefined;
  /** The base model's name for an adapter, `undefined` for a base model. */
  readonly parent: string | undefined;
  /** The entry as the engine wrote it. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * An inference engine beside the runtime. Every call has a deadline of its own on top of `signal`
 * and throws `AdapterError` with a reason that names the cause.
 */
export interface Engine {
  readonly kind: string;
  readonly url: string;
  /** Returns when the engine says that it works. */
  health(signal: AbortSignal): Promise<void>;
  /** Every name that the engine answers to now. */
  listModels(apiKey: string | undefined, signal: AbortSignal): Promise<readonly EngineModel[]>;
  /** Loads an adapter from a folder under a new name. */
  load(adapter: { readonly name: string; readonly path: string; readonly apiKey: string | undefined }, signal: AbortSignal): Promise<void>;
  /**
   * Has an adapter answer a request of one token.
   *
   * @returns `notNeeded` where the model's task has no such requests
   * @throws AdapterError `ProbeFailed`; `EngineUnavailable` where nobody listens
   */
  probe(adapter: { readonly name: string; readonly apiKey: string | undefined }, signal: AbortSignal): Promise<"served" | "notNeeded">;
  /** Has it answer a request, whatever that is; HTTP errors are answers. */
  ask(
    request: { readonly path: string; readonly body: object; readonly apiKey: string | undefined; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly body: string }>;
  /** Takes a name away; one that is not there is no error. */
  unload(adapter: { readonly name: string; readonly apiKey: string | undefined }, signal: AbortSignal): Promise<void>;
  /** Something that changes when the engine's process does; `undefined` where the engine does not tell. */
  bootId(signal: AbortSignal): Promise<string | undefined>;
  /** Wall-clock time at which the process of this id was started, in milliseconds; `undefined` where the id does not tell. */
  startedAtMs(bootId: string): number | undefined;
  /** The engine's metrics in Prometheus' text format. */
  metrics(signal: AbortSignal): Promise<string>;
  /** Calls back when a connection to the engine closes, which a restart always does. */
  onDisconnect(listener: () => void): void;
  close(): Promise<void>;
}

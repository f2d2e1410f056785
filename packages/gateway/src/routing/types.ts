/** A model on one engine: a base model or an adapter. */
export interface EngineModel {
  readonly id: string;
  readonly kind: "base" | "adapter";
  /** Where its weights come from, as the engine says it. */
  readonly root: string;
  /** Of an adapter: the base model, where it is known. */
  readonly parent?: string;
  /** Unix time in seconds since when it is there. */
  readonly createdSec: number;
  /** Where names are held per namespace: its own. Without it all of a name are one model. */
  readonly namespace?: string;
  /** `ip:port` where it answers, where that is not its engine's address. */
  readonly address?: string;
  /** Of a hundred requests, where its content is on trial on this engine, while others have another one. */
  readonly canaryWeight?: number;
  /** Why it is not served, in words for a client; absent while it is. */
  readonly notServing?: string;
  /** It is not served because other content takes the place of what was; that takes a moment. */
  readonly swapping?: true;
}

/** What one engine serves, as its source last said. */
export interface EngineState {
  /** `ip:port` by which Envoy knows it; `undefined` while its name is not resolved. */
  readonly address: string | undefined;
  /** Why it takes no requests, in words for a client; `undefined` while it does. */
  readonly notReady: string | undefined;
  readonly models: readonly EngineModel[];
}

/** What changed on an engine. */
export type EngineChange =
  | { readonly type: "state"; readonly state: EngineState }
  | { readonly type: "model"; readonly model: EngineModel }
  | { readonly type: "withdrawn"; readonly id: string }
  | { readonly type: "notReady"; readonly why: string }
  /** The engine itself; its models stay as they are. */
  | { readonly type: "engine"; readonly address: string | undefined; readonly notReady: string | undefined };

/** Takes what sources see: runtimes and engines in standalone use, a Kubernetes watch in a cluster. */
export interface RoutingSink {
  /** @param engine - a key of the source's own, one per engine */
  update(engine: string, change: EngineChange): void;
  remove(engine: string): void;
}

/** Takes models that are known whether or not an engine has them. */
export interface DeclarationSink {
  /**
   * @param key - a key of the source's own, one per declaration
   * @param model - `notServing` says why it cannot be used while no engine serves it
   */
  declare(key: string, model: EngineModel): void;
  retract(key: string): void;
}

/** A model that can be used, as `GET /v1/models` shows it. */
export type ModelCard = Pick<EngineModel, "id" | "root" | "parent" | "createdSec">;

/** Who serves a model now. */
export type Found = { readonly kind: "unknown" } | NotReady | Routable;

/** A model that is known, and that nothing serves. */
export interface NotReady {
  readonly kind: "notReady";
  readonly why: string;
  /** Other content takes the place of what was served: it is worth while to wait. */
  readonly swapping?: true;
}

/** Engines to send to. */
export interface Routable {
  readonly kind: "routable";
  /** None where only a content on trial is left. */
  readonly addresses: readonly string[];
  /** Others, with a content on trial, which get so many of a hundred requests: all where there are no others. */
  readonly canary?: {
    readonly addresses: readonly string[];
    readonly weight: number;
    /** The model's; empty where names have none. */
    readonly namespace: string;
  };
}

/**
 * What the phases see of who serves what. Where several namespaces hold a name, the one that had it first is meant, unless the caller
 * names one; that has no effect on models without a namespace.
 */
export interface RoutingView {
  find(model: string, namespace?: string): Found;
  /** Whether a content of any model is on trial. */
  hasTrials(): boolean;
  card(model: string, namespace?: string): ModelCard | undefined;
  cards(namespace?: string): readonly ModelCard[];
}

import type { Logger } from "@aibrix/service";
import type { AdapterManager } from "../adapters/manager.ts";
import type { Checks } from "../artifact/check/checks.ts";
import type { StoredContent } from "../artifact/store/store.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineObserver } from "../engine/observer.ts";
import type { Feed } from "../feed.ts";
import type { Metrics } from "../metrics.ts";
import type { ModelDownloads } from "../models/downloads.ts";

/** What the HTTP API shows and changes. */
export interface AppDeps {
  readonly engine: Engine;
  readonly observer: EngineObserver;
  readonly manager: AdapterManager;
  readonly checks: Checks;
  /** Finds contents that this pod has. */
  readonly contents: { readonly holding: (digest: string) => Promise<StoredContent | undefined> };
  /** Base models. */
  readonly downloads: ModelDownloads;
  readonly feed: Feed;
  /** Answers a readiness probe: why the pod should get no requests yet, or `undefined`. Nothing but a probe may ask. */
  readonly notReady: () => string | undefined;
  readonly metrics: Metrics;
  /** `--max-lora-rank`. */
  readonly maxLoraRank: number | undefined;
  /** File with the token that calls which change something must bring. */
  readonly tokenFile?: string | undefined;
  readonly log: Logger;
  /** Aborts when the process ends; streams end with it. */
  readonly closing: AbortSignal;
}

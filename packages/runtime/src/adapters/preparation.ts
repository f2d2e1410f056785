import type { Prepared, SmokeCheck } from "@aibrix/api";
import type { Content } from "../artifact/artifacts.ts";
import type { AdapterFacts } from "../artifact/check/adapter.ts";
import { type Declaration, sameContent } from "./declaration.ts";
import type { Failure } from "./plan.ts";

/** Content that an adapter is to get next: fetched and checked beside what serves, which is not touched. Only its `AdapterManager` changes it. */
export class Preparation {
  /** What the adapter would be declared as. */
  readonly declaration: Declaration;
  /** Names the time at which a reference was asked for, among others of the same one. */
  readonly refresh: string | undefined;
  /** What it has to answer before it counts as prepared. */
  readonly checks: readonly SmokeCheck[];
  /** Key and credentials are tried, whatever is here. */
  readonly proves: boolean;
  readonly abort = new AbortController();
  content: Content | undefined;
  facts: AdapterFacts | undefined;
  failure: Failure | undefined;
  attempts = 0;
  /** A try is running. */
  running = false;
  /** It is here, and answers {@link checks}. */
  checking = false;
  /** How often the engine ended while it did. */
  engineEnds = 0;
  /** Sidecars of other pods that have it, as the last call named them. */
  peers: readonly string[] = [];
  /** When it was asked for last, on the steady clock in milliseconds. */
  askedMs = 0;
  timer: NodeJS.Timeout | undefined;

  constructor(declaration: Declaration, refresh: string | undefined, checks: readonly SmokeCheck[] = [], proves = false) {
    this.declaration = declaration;
    this.refresh = refresh;
    this.checks = checks;
    this.proves = proves;
  }

  /** Whether a call asks for the same once more. */
  isFor(declaration: Declaration, refresh: string | undefined, checks: readonly SmokeCheck[] = []): boolean {
    const sameChecks = JSON.stringify(this.checks) === JSON.stringify(checks);
    return (
      this.refresh === refresh &&
      sameChecks &&
      this.declaration.apiKey === declaration.apiKey &&
      sameContent(this.declaration, declaration) &&
      sameLimits(this.declaration, declaration)
    );
  }

  /** The content, where it is here and is what a load call wants. */
  contentFor({ url, content, delivery }: Declaration): Content | undefined {
    const found = this.content;
    const isIt = content === undefined ? this.declaration.content === undefined : found?.digest === content.digest;
    const same = this.declaration.url === url && JSON.stringify(this.declaration.delivery) === JSON.stringify(delivery);
    return isIt && same ? found : undefined;
  }

  /** It is no longer wanted. */
  end(reason: Error): void {
    clearTimeout(this.timer);
    this.abort.abort(reason);
  }

  #state(): Prepared["state"] {
    if (this.content !== undefined) return "Ready";
    if (this.failure !== undefined) return "Failed";
    return this.checking ? "Checking" : "Downloading";
  }

  /** @param timeOf - a time of the steady clock in milliseconds since the epoch */
  shown(timeOf: (ms: number) => number): Prepared {
    const { content, failure } = this;
    return {
      artifact_url: this.declaration.url,
      ...(this.refresh === undefined ? {} : { refresh: this.refresh }),
      state: this.#state(),
      ...(this.checks.length === 0 ? {} : { checks: this.checks.length }),
      ...(content === undefined || content.digest === "" ? {} : { content_digest: content.digest }),
      ...(content?.revision === undefined ? {} : { resolved_revision: content.revision }),
      ...(this.facts === undefined ? {} : { max_rank: this.facts.maxRank }),
      attempts: this.attempts,
      ...(failure === undefined ? {} : { reason: failure.reason, message: failure.message, retryable: failure.retryable }),
      ...(failure?.retryAtMs === undefined ? {} : { next_retry_time: new Date(timeOf(failure.retryAtMs)).toISOString() }),
    };
  }
}

function sameLimits(a: Declaration, b: Declaration): boolean {
  return JSON.stringify(a.limits) === JSON.stringify(b.limits);
}

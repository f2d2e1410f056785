import { complete } from "./client.ts";
import type { Platform } from "./platform.ts";

/** Reads the status, asks the adapter, reads the status again, over and over: where both say Ready and nothing changed between, the answer is good. */
export class Witness {
  /** Answers that were not good while the status said Ready. */
  readonly lies: string[] = [];
  sawReady = 0;
  sawNotReady = 0;
  readonly #platform: Platform;
  readonly #name: string;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(platform: Platform, name: string) {
    this.#platform = platform;
    this.#name = name;
    this.#done = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const before = await this.#platform.adapter(this.#name);
      const answer = await complete(this.#platform.gateway, this.#name);
      const after = await this.#platform.adapter(this.#name);
      if (!isReady(before)) this.sawNotReady++;
      if (!isReady(before) || before.metadata.resourceVersion !== after.metadata.resourceVersion) continue;
      this.sawReady++;
      if (answer.status !== 200) this.lies.push(`${answer.status} ${answer.body} while ${JSON.stringify(after.status)}`);
    }
  }
}

function isReady({ status }: { readonly status?: { readonly conditions?: readonly { type: string; status: string }[] } }): boolean {
  return status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
}

import type { KubeClient } from "./client.ts";
import { electionStep, nextSpec, type Sighting, sight } from "./election.ts";
import { KubeError } from "./errors.ts";
import { LEASES } from "./resource.ts";
import { Deadline, StopNow, sleep } from "./time.ts";
import type { Lease, Log } from "./types.ts";

/** The lease was lost while this process led: another one may lead already. */
export class LeaseLostError extends StopNow {
  override readonly name: string = "LeaseLostError";
}

export interface ElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique per process, the pod's name for example. */
  readonly identity: string;
  /** How long a lease holds that nobody renews. 15 s where absent, as in controller-runtime. */
  readonly leaseMs?: number;
  /** How long the leader tries to renew before it gives up; must be less than `leaseMs`. 10 s where absent. */
  readonly renewMs?: number;
  /** Time between two tries or renewals. 2 s where absent. */
  readonly retryMs?: number;
  readonly log: Log;
  readonly onChange?: (leading: boolean) => void;
  /** Called whenever the lease was taken or renewed. */
  readonly onRenewed?: () => void;
}

/** How often a write is tried again at once where somebody else wrote to the lease in between. */
const CONFLICT_RETRIES = 5;

/**
 * Waits for the lease, then runs `lead` while holding it; `lead`'s signal aborts when `signal` does or when the lease is lost.
 * Gives the lease back when `lead` has ended, so that another process takes over with its next try. Returns what `lead` returns, or
 * undefined where `signal` aborted before this process led.
 *
 * @throws {@link LeaseLostError} where the lease was lost: the process must end, or at least begin anew; else what `lead` throws
 */
export async function runAsLeader<T>(
  options: ElectionOptions,
  lead: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  const elector = new Elector(options);
  if (!(await elector.acquire(signal))) return undefined;
  options.log.info({ lease: options.name, identity: options.identity }, "leads");
  options.onChange?.(true);
  const work = new AbortController();
  const onAbort = () => work.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  const ended = new AbortController();
  const renewing = elector.renew((error) => work.abort(error), ended.signal);
  let result: T;
  try {
    result = await lead(work.signal);
  } catch (error) {
    // An abort because of the loss shows as any error; the loss is what matters.
    throw elector.lost ?? error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    ended.abort();
    await renewing;
    options.onChange?.(false);
    await elector.release();
  }
  if (elector.lost !== undefined) throw elector.lost;
  return result;
}

/** One process's part in an election. */
class Elector {
  readonly #options: ElectionOptions;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  #lease: Lease | undefined;
  #sighting: Sighting | undefined;
  /** Steady clock when the last renewal that succeeded was sent. */
  #heldSinceMs = 0;
  #lost: LeaseLostError | undefined;
  /** A write was sent whose outcome is not known: the lease may be held by this process. */
  #unsure = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewMs = options.renewMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2_000;
    if (this.#renewMs >= this.#leaseMs) throw new TypeError("renewMs must be less than leaseMs: else two processes lead at once");
  }

  get lost(): LeaseLostError | undefined {
    return this.#lost;
  }

  /** Tries until this process holds the lease; false where the signal aborts first. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (await this.#try(signal)) return true;
      await sleep(this.#retryMs * (1 + 0.2 * Math.random()), signal);
    }
    if (this.#unsure) await this.release();
    return false;
  }

  /** Renews until `ended` aborts; calls `onLost` once where that did not succeed for too long, or where another process holds the lease. */
  async renew(onLost: (error: LeaseLostError) => void, ended: AbortSignal): Promise<void> {
    const { name } = this.#options;
    const lose = (why: string) => {
      if (this.#lost !== undefined || ended.aborted) return;
      this.#lost = new LeaseLostError(`the lease ${name} was lost: ${why}`);
      this.#options.log.error({ err: this.#lost }, "leads no more");
      onLost(this.#lost);
    };
    // A timer of its own: a call that hangs must not hide that the time is up.
    const arm = () => setTimeout(() => lose("it could not be renewed in time"), this.#heldSinceMs + this.#renewMs - performance.now());
    let timer = arm();
    while (this.#lost === undefined && (await sleep(this.#retryMs, ended))) {
      if (await this.#try(ended)) {
        clearTimeout(timer);
        timer = arm();
      } else if (this.#lease?.spec?.holderIdentity !== this.#options.identity) {
        lose(`${this.#lease?.spec?.holderIdentity || "nobody"} holds it`);
      }
    }
    clearTimeout(timer);
  }

  /** Gives the lease back if this process still holds it. Never throws: who waits takes over later then. */
  async release(): Promise<void> {
    if (this.#lost !== undefined) return;
    using deadline = new Deadline(new AbortController().signal).set(5_000, "giving the lease back took too long");
    try {
      if (await this.#writeWithRetries("release", deadline.signal))
        this.#options.log.info({ lease: this.#options.name }, "gave the lease back");
    } catch (error) {
      this.#options.log.warn({ err: error, lease: this.#options.name }, "could not give the lease back: it ends by itself");
    }
  }

  async #try(signal: AbortSignal): Promise<boolean> {
    using deadline = new Deadline(signal).set(this.#renewMs, "the API server did not answer in time");
    try {
      return await this.#writeWithRetries("hold", deadline.signal);
    } catch (error) {
      if (!signal.aborted) this.#options.log.warn({ err: error, lease: this.#options.name }, "cannot reach the lease, will try again");
      return false;
    }
  }

  /** One try to hold or to release; false where the lease is another's. A conflict means a look at what is there now. */
  async #writeWithRetries(goal: "hold" | "release", signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    let fresh = this.#lease?.spec?.holderIdentity !== identity;
    for (let attempt = 0; ; attempt++) {
      if (fresh) this.#lease = await client.find(LEASES, { namespace, name }, signal);
      const nowMs = performance.now();
      this.#sighting = this.#lease === undefined ? undefined : sight(this.#sighting, this.#lease.spec ?? {}, nowMs);
      const step = electionStep(this.#sighting, identity, this.#leaseMs, nowMs);
      if (step === "wait" || (goal === "release" && step !== "renew")) return false;
      const spec = nextSpec(goal === "release" ? "release" : step, this.#lease?.spec, identity, this.#leaseMs, new Date());
      this.#unsure = true;
      try {
        this.#lease =
          this.#lease === undefined
            ? await client.create(LEASES, { metadata: { namespace, name }, spec }, {}, signal)
            : await client.update(LEASES, { ...this.#lease, spec }, {}, signal);
        this.#unsure = false;
        this.#sighting = { spec, seenAtMs: nowMs };
        this.#heldSinceMs = nowMs;
        if (goal === "hold") this.#options.onRenewed?.();
        return true;
      } catch (error) {
        const raced = error instanceof KubeError && (error.conflict || error.alreadyExists || error.notFound);
        if (raced) this.#unsure = false;
        if (!raced || attempt >= CONFLICT_RETRIES) throw error;
        fresh = true;
      }
    }
  }
}

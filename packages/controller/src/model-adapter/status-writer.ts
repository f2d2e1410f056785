import { isDeepStrictEqual } from "node:util";
import type { ModelAdapterStatus } from "@aibrix/api";
import { type KubeClient, KubeError, type Log, withoutManagedFields } from "@aibrix/kube";
import { MODEL_ADAPTERS, type ModelAdapterObject } from "./types.ts";

/** How long a CRD that lacks fields is not tried again with them, in milliseconds: somebody may apply the present one meanwhile. */
const OLD_SCHEMA_MS = 60_000;

/** What is left out for a CRD of an earlier release, the newest fields first: what it does have is to be kept. */
const SPARING = [
  { without: "with which Secrets contents are served", spare: withoutSecrets },
  { without: "the adapter's rank and contents", spare: withoutNewer },
] as const;

/** Writes statuses, to a CRD of an earlier release without the fields that it does not know. */
export class StatusWriter {
  readonly #client: KubeClient;
  readonly #log: Log;
  #oldUntilMs = Number.NEGATIVE_INFINITY;
  /** How many of {@link SPARING} it takes until then. */
  #spared = 0;
  readonly #told = new Set<string>();

  constructor(client: KubeClient, log: Log) {
    this.#client = client;
    this.#log = log;
  }

  /** What of a status the cluster's CRD can keep, as far as is known. */
  known(status: ModelAdapterStatus): ModelAdapterStatus {
    return performance.now() < this.#oldUntilMs ? (SPARING[this.#spared - 1]?.spare(status) ?? status) : status;
  }

  /** With the uid: a status never lands on a later object of the same name. */
  async write(adapter: ModelAdapterObject, status: ModelAdapterStatus, signal: AbortSignal): Promise<ModelAdapterObject> {
    const { namespace = "", name, uid } = adapter.metadata;
    const metadata = { namespace, name, ...(uid === undefined ? {} : { uid }) };
    const apply = async (told: ModelAdapterStatus) =>
      withoutManagedFields(await this.#client.applyStatus(MODEL_ADAPTERS, { metadata, status: told }, {}, signal));
    let sent = status;
    for (let refused: { readonly spared: number; readonly error: unknown } | undefined; ; ) {
      try {
        const written = await apply(sent);
        if (refused !== undefined) this.#spare(refused.spared, refused.error);
        return written;
      } catch (error) {
        // What changes nothing would be refused for the same.
        const at = isUndeclared(error) ? SPARING.findIndex(({ spare }) => !isDeepStrictEqual(spare(sent), sent)) : -1;
        const next = SPARING[at];
        if (next === undefined) throw error;
        refused = { spared: at + 1, error };
        sent = next.spare(sent);
      }
    }
  }

  #spare(spared: number, err: unknown): void {
    this.#spared = spared;
    this.#oldUntilMs = performance.now() + OLD_SCHEMA_MS;
    const without = SPARING[spared - 1]?.without;
    if (without === undefined || this.#told.has(without)) return;
    this.#told.add(without);
    this.#log.warn(
      { err },
      `the cluster's CRD is of an earlier release: statuses are written without ${without} until deploy/crd/model.aibrix.ai_modeladapters.yaml is applied (kubectl apply --server-side -f)`,
    );
  }
}

/** A status without the names of the Secrets that contents are served with, or are to be. Pure. */
function withoutSecrets({ served, update, ...status }: ModelAdapterStatus): ModelAdapterStatus {
  const { secrets: _s, ...servedWithout } = served ?? {};
  const { secrets: _u, ...updateWithout } = update ?? {};
  return {
    ...status,
    ...(served === undefined ? {} : { served: servedWithout as typeof served }),
    ...(update === undefined ? {} : { update: updateWithout as typeof update }),
  };
}

/** A status without the fields that came with a later release, and that nothing needs to be written down. Pure. */
export function withoutNewer(told: ModelAdapterStatus): ModelAdapterStatus {
  const { adapterRank: _, contentDigest: _d, resolvedRevision: _r, served: _s, update: _u, history: _h, ...rest } = told;
  const { lastHandledPromote: _p, lastHandledAbort: _a, pods, ...status } = rest;
  return { ...status, ...(pods === undefined ? {} : { pods: pods.map(({ maxRank: _, ...row }) => row) }) };
}

/** Whether a server-side apply was refused for a field, or a word in one of the status, that the resource's schema does not have. */
function isUndeclared(error: unknown): boolean {
  if (!(error instanceof KubeError)) return false;
  return error.message.includes("field not declared in schema") || /\bstatus\.[^\s:]+: Unsupported value/.test(error.message);
}

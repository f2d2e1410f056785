import { isDeepStrictEqual } from "node:util";
import type { ModelAdapterStatus } from "@aibrix/api";
import { type KubeClient, KubeError, type Log, withoutManagedFields } from "@aibrix/kube";
import { MODEL_ADAPTERS, type ModelAdapterObject } from "./types.ts";

/** How long a CRD that lacks fields is not tried again with them, in milliseconds: somebody may apply the present one meanwhile. */
const OLD_SCHEMA_MS = 60_000;

/** Writes statuses, to a CRD of an earlier release without the fields that it does not know. */
export class StatusWriter {
  readonly #client: KubeClient;
  readonly #log: Log;
  #oldUntilMs = Number.NEGATIVE_INFINITY;
  #told = false;

  constructor(client: KubeClient, log: Log) {
    this.#client = client;
    this.#log = log;
  }

  /** What of a status the cluster's CRD can keep, as far as is known. */
  known(status: ModelAdapterStatus): ModelAdapterStatus {
    return performance.now() < this.#oldUntilMs ? withoutNewer(status) : status;
  }

  /** With the uid: a status never lands on a later object of the same name. */
  async write(adapter: ModelAdapterObject, status: ModelAdapterStatus, signal: AbortSignal): Promise<ModelAdapterObject> {
    const { namespace = "", name, uid } = adapter.metadata;
    const metadata = { namespace, name, ...(uid === undefined ? {} : { uid }) };
    const apply = async (told: ModelAdapterStatus) =>
      withoutManagedFields(await this.#client.applyStatus(MODEL_ADAPTERS, { metadata, status: told }, {}, signal));
    try {
      return await apply(status);
    } catch (error) {
      const older = withoutNewer(status);
      if (!isUndeclared(error) || isDeepStrictEqual(older, status)) throw error;
      this.#oldUntilMs = performance.now() + OLD_SCHEMA_MS;
      this.#tell(error);
      return await apply(older);
    }
  }

  #tell(err: unknown): void {
    if (this.#told) return;
    this.#told = true;
    this.#log.warn(
      { err },
      "the cluster's CRD is of an earlier release: statuses are written without the adapter's rank and contents until deploy/crd/model.aibrix.ai_modeladapters.yaml is applied (kubectl apply --server-side -f)",
    );
  }
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

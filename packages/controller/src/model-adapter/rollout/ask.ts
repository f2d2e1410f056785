import { createHash } from "node:crypto";
import { CONFIG_API_KEY, type ModelAdapterSpec } from "@aibrix/api";
import type { Content } from "../contents.ts";
import type { RolloutInput } from "./input.ts";

/**
 * Names all that the outcome of an update depends on besides where its content comes from. An edit of anything else, of `replicas` or a canary's
 * steps, say, has nothing fetched, checked or tried anew. An API key in the spec is no part of it, not even hashed: sidecars show it to whoever
 * reaches them, who could try guesses. That it is another one, the content's `secrets` tell.
 */
export function basisOf({ adapter, secrets }: Pick<RolloutInput, "adapter" | "secrets">): string {
  const declared: Partial<ModelAdapterSpec> = adapter?.spec ?? {};
  const { artifactURL: _url, replicas: _, schedulerName: _name, refreshInterval: _interval, rollout, ...rest } = declared;
  const { [CONFIG_API_KEY]: _key, ...additionalConfig } = rest.additionalConfig ?? {};
  const spec = rest.additionalConfig === undefined ? rest : { ...rest, additionalConfig };
  const basis = createHash("sha256")
    .update(JSON.stringify([spec, rollout?.checks ?? []]))
    .digest("base64url");
  return `${basis.slice(0, 11)} ${secrets}`;
}

/**
 * Names one asking for a content, so that the outcome of an earlier one of the same words is not taken for it.
 *
 * @param basis - see {@link basisOf}
 * @param startMs - when the update began, in milliseconds since the epoch
 */
export function askOf(
  { adapter }: Pick<RolloutInput, "adapter">,
  basis: string,
  startMs: number,
  { refresh }: Pick<Content, "refresh">,
): string {
  // A CRD of an earlier release keeps no update, so that each turn begins it.
  const isKept = adapter?.status?.served !== undefined;
  return `${isKept ? startMs : adapter?.metadata.generation} ${basis} ${refresh ?? ""}`;
}

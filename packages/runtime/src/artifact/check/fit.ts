import { rankLimit } from "@aibrix/api";
import { AdapterError } from "../../errors.ts";
import type { AdapterFacts } from "./adapter.ts";
import type { BaseModel } from "./base-model.ts";
import { brief } from "./config.ts";
import { show } from "./modules.ts";

/** What is known of an engine; whatever is not, the engine decides. */
export interface EngineFacts {
  /** `--max-lora-rank`. */
  readonly maxLoraRank: number | undefined;
  readonly base: BaseModel | undefined;
}

/**
 * Checks that an adapter fits an engine: its rank, the modules that it changes, and their sizes. Pure.
 *
 * @throws AdapterError `ArtifactUnfit`
 */
export function checkFit({ maxRank, modules }: AdapterFacts, { maxLoraRank, base }: EngineFacts): void {
  if (maxLoraRank !== undefined && maxRank > maxLoraRank)
    throw unfit(
      `the adapter has rank ${maxRank}, the engine takes ${maxLoraRank} at most: start the engine with --max-lora-rank ${rankLimit(maxRank)}, or train the adapter with a lower rank`,
    );
  if (base === undefined) return;
  for (const { path, a, b } of modules) {
    const name = path.slice(path.lastIndexOf(".") + 1);
    // vLLM does not look at these either.
    if (/(^|\.)(experts|base_layer)(\.|$)/.test(path)) continue;
    if (!base.projections.has(name) && !(base.embeddings && ["embed_tokens", "lm_head"].includes(name)))
      throw unfit(
        `the adapter changes ${brief(path)}, which the engine lets no adapter change in ${base.architecture}: train it on ${[...base.projections.keys()].join(", ")} only`,
      );
    const layer = /^model\.layers\.(\d+)\.(?:self_attn|mlp)\.\w+$/.exec(path)?.[1];
    if (layer === undefined) continue;
    if (Number(layer) >= base.layers)
      throw unfit(
        `the adapter changes layer ${layer} of its base model, the engine's has layers 0 to ${base.layers - 1} only: ${OTHER_BASE}`,
      );
    const size = base.projections.get(name);
    if (size !== undefined && (a[1] !== size[0] || b[0] !== size[1]))
      throw unfit(
        `the adapter is for a base model of another size: ${brief(path)} has ${size[0]} inputs and ${size[1]} outputs in the engine, the adapter's lora_A is ${show(a)} and its lora_B ${show(b)}; ${OTHER_BASE}`,
      );
  }
}

const OTHER_BASE = "use an adapter that was trained on the model that the engine serves";

/** What an engine would take, and should not be expected to work: for reports. Pure. */
export function doubts({ modules, dtypes }: AdapterFacts, { base }: EngineFacts): readonly string[] {
  const strange = dtypes.filter((t) => !["F32", "F16", "BF16", "F64"].includes(t));
  const known = modules.some((m) => /^(model\.layers\.\d+\.|.*(^|\.)(embed_tokens|lm_head)$)/.test(m.path));
  return [
    ...(strange.length === 0 ? [] : [`weights of type ${strange.join(", ")}: the engine converts them, and what is lost is lost`]),
    ...(base === undefined || known
      ? []
      : [`none of its modules (${brief(modules[0]?.path)}, …) has a place in ${base.architecture}: the engine may answer as without it`]),
  ];
}

function unfit(message: string): AdapterError {
  return new AdapterError("ArtifactUnfit", message);
}

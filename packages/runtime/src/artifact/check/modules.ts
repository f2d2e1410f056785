import { AdapterError } from "../../errors.ts";
import { type AdapterConfig, brief } from "./config.ts";
import type { Tensor } from "./safetensors.ts";

type Shape = readonly number[];

/** A layer of the base model that an adapter changes. */
export interface LoraModule {
  /** Its place in the base model, `model.layers.0.self_attn.q_proj` for example. */
  readonly path: string;
  /** Shape of the down projection: rank, inputs. */
  readonly a: Shape;
  /** Shape of the up projection: outputs, rank. */
  readonly b: Shape;
}

/** Numbers without a scale: weights in them were quantized, and the scales are nowhere. vLLM would take them as they are. */
const NO_WEIGHTS = /^(BOOL|[IU]\d+|F4|F6_.*|F8_E8M0)$/;

/**
 * The layers that an adapter changes, by the names of its tensors.
 *
 * @param file - name of the weights, for messages
 * @throws AdapterError `ArtifactInvalid` for a tensor that no engine can place, and for halves that do not belong together
 */
export function readModules(tensors: readonly Tensor[], config: AdapterConfig, file: string): readonly LoraModule[] {
  const halves = new Map<string, { a?: Shape; b?: Shape }>();
  for (const { name, dtype, shape } of tensors) {
    const place = placeOf(name);
    if (place === "ignored") continue;
    if (place === undefined) throw invalid(file, `holds a tensor that is no part of a LoRA, ${brief(name)}: ${remedyFor(name)}`);
    if (NO_WEIGHTS.test(dtype))
      throw invalid(file, `holds ${brief(name)} as ${dtype}: save the weights as F32, F16 or BF16, an engine cannot scale quantized ones`);
    const module = halves.get(place.path) ?? {};
    module[place.half] = shape;
    halves.set(place.path, module);
  }
  if (halves.size === 0) throw invalid(file, "holds no LoRA weights: save the trained adapter again (PEFT: save_pretrained)");
  return [...halves].map(([path, { a, b }]) => {
    if (a === undefined || b === undefined)
      throw invalid(
        file,
        `has only lora_${a === undefined ? "B" : "A"} of ${brief(path)}: the other half is missing; save the adapter again`,
      );
    checkRanks(path, a, b, config, file);
    return { path, a, b };
  });
}

type Place = { readonly path: string; readonly half: "a" | "b" };

/** Where a tensor belongs. The forms are those that vLLM takes (0.32); it refuses an adapter with any other tensor. */
function placeOf(name: string): Place | "ignored" | undefined {
  const lora = /^(.*?)\.?(?:lora_([AB])\.weight|lora_embedding_([AB]))$/.exec(name);
  if (lora !== null) return { path: (lora[1] ?? "").replace(/^base_model\.model\./, ""), half: (lora[2] ?? lora[3]) === "A" ? "a" : "b" };
  // The base's own embeddings, which PEFT saves beside an adapter on them; the whole head of a classification model, which is the engine's affair;
  // and layers for speculation, which engines leave out.
  if (/\.(embed_tokens|lm_head)\.base_layer\.weight$|(^|\.)(score|classifier)\.(weight|bias)$|(^|\.)mtp\./.test(name)) return "ignored";
  return undefined;
}

function remedyFor(name: string): string {
  if (name.includes("lora_magnitude_vector")) return "DoRA is not supported by the engine, train it with use_dora=False";
  if (/\.lora_[AB]\.[^.]+\.weight$/.test(name)) return "it was saved with the adapter's name in it, save it with PEFT's save_pretrained";
  if (/(embed_tokens|lm_head)\.weight$/.test(name))
    return "the engine takes no whole embeddings, save it with PEFT's save_pretrained(..., save_embedding_layers=False)";
  if (name.endsWith(".bias")) return 'biases are not supported by the engine, train it with bias="none"';
  return "save it with PEFT's save_pretrained";
}

/**
 * Whether the shapes agree with each other and with the configuration. Experts are stacked in one tensor in several ways, which are the
 * engine's affair, as are layers of more dimensions than a matrix.
 */
function checkRanks(path: string, a: Shape, b: Shape, config: AdapterConfig, file: string): void {
  if (/(^|\.)experts(\.|$)/.test(path) || a.length > 2 || b.length > 2) return;
  if (a.length < 2 || b.length < 2)
    throw invalid(file, `holds lora_A ${show(a)} and lora_B ${show(b)} for ${brief(path)}: both must be matrices`);
  if (a[0] !== b[1])
    throw invalid(
      file,
      `holds lora_A ${show(a)} and lora_B ${show(b)} for ${brief(path)}, which do not belong together: lora_A must be [rank, inputs], lora_B [outputs, rank]; save the adapter again`,
    );
  const ranks = [config.rank, ...config.patternRanks];
  if (!ranks.includes(a[0] ?? 0))
    throw invalid(
      file,
      `has rank ${a[0]} for ${brief(path)}, adapter_config.json says ${[...new Set(ranks)].slice(0, 5).join(" or ")}: use the configuration that was saved with these weights`,
    );
}

export function show(shape: Shape): string {
  return `[${shape.slice(0, 6).join(", ")}]`;
}

function invalid(file: string, message: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${file} ${message}`);
}

import { AdapterError } from "../../errors.ts";
import { type AdapterConfig, MAX_CONFIG_BYTES, parseConfig } from "./config.ts";
import { type AdapterFile, localFile } from "./files.ts";
import { type LoraModule, readModules } from "./modules.ts";
import { readTensors, type Tensor } from "./safetensors.ts";
import { CONFIG_FILE, WEIGHTS_FILE } from "./select.ts";

/** What is known of an adapter that was found to be whole. */
export interface AdapterFacts {
  readonly config: AdapterConfig;
  /** The highest rank of any of its modules. */
  readonly maxRank: number;
  readonly modules: readonly LoraModule[];
  /** Types of its weights, `F32` for example. */
  readonly dtypes: readonly string[];
  readonly tensors: number;
}

/**
 * Checks that files are an adapter which is safe to give to an engine: its configuration is one that engines take, no file of weights is
 * damaged, and the tensors are those of a LoRA. Reads the configuration and headers only. Whether it fits an engine is `checkFit`'s question.
 *
 * @throws AdapterError `ArtifactInvalid`; `ArtifactUnavailable` where a file cannot be read
 */
export async function inspectAdapter(files: readonly AdapterFile[], signal: AbortSignal): Promise<AdapterFacts> {
  const config = await readConfig(
    files.find((f) => f.name === CONFIG_FILE),
    signal,
  );
  let weights: readonly Tensor[] = [];
  for (const file of files.filter((f) => f.name.endsWith(".safetensors"))) {
    const tensors = await readTensors(file, signal);
    // Of others, engines read nothing that matters here: only that they are whole counts.
    if (file.name === WEIGHTS_FILE) weights = tensors;
  }
  return {
    config,
    maxRank: config.patternRanks.reduce((max, rank) => Math.max(max, rank), config.rank),
    modules: readModules(weights, config, WEIGHTS_FILE),
    dtypes: [...new Set(weights.map((t) => t.dtype))].sort(),
    tensors: weights.length,
  };
}

/** The same for files of a folder. */
export async function inspectFolder(dir: string, names: readonly string[], signal: AbortSignal): Promise<AdapterFacts> {
  const relevant = names.filter((n) => n === CONFIG_FILE || n.endsWith(".safetensors"));
  return await inspectAdapter(await Promise.all(relevant.map((name) => localFile(dir, name))), signal);
}

async function readConfig(file: AdapterFile | undefined, signal: AbortSignal): Promise<AdapterConfig> {
  if (file === undefined || file.sizeBytes > MAX_CONFIG_BYTES)
    throw new AdapterError(
      "ArtifactInvalid",
      `${CONFIG_FILE} has ${file === undefined ? "far too many" : file.sizeBytes} bytes, more than any configuration: upload the file that PEFT saved`,
    );
  return parseConfig((await file.read(0, file.sizeBytes, signal)).toString("utf8"));
}

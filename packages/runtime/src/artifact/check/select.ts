import { AdapterError } from "../../errors.ts";
import type { RemoteFile } from "../sources/source.ts";

export const CONFIG_FILE = "adapter_config.json";
export const WEIGHTS_FILE = "adapter_model.safetensors";

/** Tokenizer files and templates are small; a larger file of these kinds is something else. */
const SMALL_FILE_BYTES = 64 * 1024 * 1024;
const SMALL_FILE = /\.(json|txt|model|jinja)$/;
/** Weights of a whole model, which some repositories keep beside the adapter. */
const WHOLE_MODEL = /^(pytorch_)?model([-.].*)?\.safetensors$|^consolidated.*\.safetensors$/;
/** Python pickles: reading one runs code that is in it. */
const PICKLE = /\.(bin|pt|pth|pkl|ckpt)$/;

/**
 * The files that an engine needs of an adapter, and no others.
 *
 * @param what - the artifact's URL, for messages
 * @throws AdapterError `ArtifactInvalid` where no adapter is in the listing
 */
export function selectFiles(files: readonly RemoteFile[], what: string): readonly RemoteFile[] {
  const names = files.map((f) => f.name);
  if (!names.includes(CONFIG_FILE)) {
    const found = names.length === 0 ? "there are no files" : `found ${some(names)}`;
    throw invalid(
      `${what} is not a LoRA adapter: ${CONFIG_FILE} is missing (${found}); write the URL of the folder that PEFT saved the adapter in`,
    );
  }
  if (!names.includes(WEIGHTS_FILE)) {
    const pickle = names.find((n) => PICKLE.test(n));
    if (pickle !== undefined)
      throw invalid(
        `${what} has its weights only as a Python pickle (${pickle}), which could run code when it is read: save them as ${WEIGHTS_FILE} (PEFT: save_pretrained(..., safe_serialization=True))`,
      );
    throw invalid(`${what} has no weights: ${WEIGHTS_FILE} is missing (found ${some(names)})`);
  }
  // A name with a dot in front is nothing that an engine reads, and could be one that the store uses.
  const plain = files.filter((f) => /^[^./\\\0][^/\\\0]*$/.test(f.name));
  return plain.filter((f) => isWeights(f.name) || (SMALL_FILE.test(f.name) && f.sizeBytes <= SMALL_FILE_BYTES));
}

function isWeights(name: string): boolean {
  return name.endsWith(".safetensors") && !WHOLE_MODEL.test(name);
}

function some(names: readonly string[]): string {
  return names.slice(0, 5).join(", ") + (names.length > 5 ? ", …" : "");
}

function invalid(message: string): AdapterError {
  return new AdapterError("ArtifactInvalid", message);
}

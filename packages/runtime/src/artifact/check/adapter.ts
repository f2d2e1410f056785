import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AdapterError } from "../../errors.ts";
import { checkSafetensors } from "./safetensors.ts";
import { CONFIG_FILE } from "./select.ts";

/**
 * Checks that a folder holds an adapter which is safe to give to an engine: adapter_config.json says so, and no file of weights is damaged.
 * What only the engine knows (its rank limit, its base model's shape) is not checked here.
 *
 * @param names - the files that count, see `selectFiles`
 * @throws AdapterError `ArtifactInvalid`
 */
export async function checkAdapter(dir: string, names: readonly string[]): Promise<void> {
  checkConfig(await readFile(join(dir, CONFIG_FILE), "utf8"));
  for (const name of names.filter((n) => n.endsWith(".safetensors"))) await checkSafetensors(join(dir, name), name);
}

function checkConfig(text: string): void {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    throw invalid("is not JSON: upload the file again");
  }
  if (config === null || typeof config !== "object" || Array.isArray(config)) throw invalid("is not an object: write what PEFT saved");
  const { r, peft_type: type } = config as { r?: unknown; peft_type?: unknown };
  if (type !== undefined && type !== null && type !== "LORA")
    throw invalid(`has peft_type ${JSON.stringify(type).slice(0, 50)}: only LORA adapters can be loaded`);
  if (!Number.isInteger(r) || (r as number) < 1)
    throw invalid(`has no rank: "r" must be a whole number of 1 or more, it is ${JSON.stringify(r)?.slice(0, 50) ?? "missing"}`);
}

function invalid(message: string): AdapterError {
  return new AdapterError("ArtifactInvalid", `${CONFIG_FILE} ${message}`);
}

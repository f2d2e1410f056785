import { createHash } from "node:crypto";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type BaseModel, TARGET_MODULES } from "./base-model.ts";
import { AdapterNotFoundError, WorkerError } from "./errors.ts";
import { describeProblem, jsonProblem } from "./python-json.ts";
import { headerBytes, LENGTH_BYTES, parseHeader, SafetensorsError, type TensorInfo } from "./safetensors.ts";
import { DIGEST_CHARACTERS, WEIGHTS_FILE } from "./text.ts";

/** An adapter as it was read into memory. */
export interface Weights {
  /** First characters of the SHA-256 of the bytes that were read. */
  readonly digest: string;
  /** Why the weights do not fit the base model, if so. vLLM notices only when it activates them, after they took their place in memory. */
  readonly misfit?: string;
}

export interface ReadOptions {
  readonly maxLoraRank: number;
  readonly base: BaseModel;
}

type Config = Readonly<Record<string, unknown>>;

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** A file system error as Python words it; messages about paths are sanitized before they leave the engine. */
function osError(error: unknown, path: string): WorkerError {
  const { code = "", errno = 0, message } = error as NodeJS.ErrnoException;
  const words = { ENOTDIR: "Not a directory", EACCES: "Permission denied", EISDIR: "Is a directory" }[code] ?? message;
  return new WorkerError(`[Errno ${Math.abs(errno)}] ${words}: '${path}'`);
}

async function readConfig(directory: string, name: string, path: string): Promise<Config> {
  const file = join(directory, "adapter_config.json");
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw isMissing(error) ? new AdapterNotFoundError(name, path) : osError(error, file);
  });
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    throw new WorkerError(describeProblem(jsonProblem(error, text), text));
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new WorkerError("adapter_config.json is not a JSON object");
  return config as Config;
}

/** What vLLM refuses before it looks at the weights: `PEFTHelper` in vllm/lora/peft_helper.py. */
function checkConfig(config: Config, maxLoraRank: number): void {
  const missing = ["r", "lora_alpha", "target_modules"].filter((key) => config[key] === undefined);
  if (missing.length > 0) throw new WorkerError(`Missing required configuration fields: {${missing.map((key) => `'${key}'`).join(", ")}}`);
  const rank = config.r;
  if (typeof rank !== "number" || rank <= 0) throw new WorkerError(`LoRA rank \`r\` must be a positive integer, got ${String(rank)}.`);
  const ranks = Object.values((config.rank_pattern as Record<string, number> | null | undefined) ?? {});
  const highest = Math.max(rank, ...ranks);
  const problems: string[] = [];
  if (config.use_dora === true) problems.push("vLLM does not yet support DoRA.");
  if (config.lora_bias === true) problems.push("vLLM does not support LoRA bias (lora_bias).");
  if (highest > maxLoraRank) problems.push(`LoRA rank ${highest} is greater than max_lora_rank ${maxLoraRank}.`);
  if (config.bias !== undefined && config.bias !== "none") problems.push("Adapter bias is not supported.");
  if (problems.length > 0) throw new WorkerError(problems.join(" "));
}

/** Module that a tensor belongs to, and which half it is: `parse_fine_tuned_lora_name` in vllm/lora/utils.py. */
function parseTensorName(tensor: string): { readonly module: string; readonly half: "A" | "B" } {
  const parsed = /^(?:base_model\.model\.)?(?<module>.+)\.(?:lora_(?<half>[AB])\.weight|lora_embedding_(?<embedding>[AB]))$/.exec(
    tensor,
  )?.groups;
  if (parsed === undefined) throw new WorkerError(`${tensor} is unsupported LoRA weight`);
  return { module: parsed.module ?? "", half: (parsed.half ?? parsed.embedding) === "A" ? "A" : "B" };
}

function suffix(module: string): string {
  return module.slice(module.lastIndexOf(".") + 1);
}

function checkModules(tensors: ReadonlyMap<string, TensorInfo>, directory: string): void {
  const unexpected = [...tensors.keys()]
    .map((tensor) => parseTensorName(tensor).module)
    .filter((module) => !TARGET_MODULES.includes(suffix(module)));
  if (unexpected.length === 0) return;
  const list = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(", ");
  throw new WorkerError(
    `While loading ${directory}, expected target modules in {${list(TARGET_MODULES)}} but received [${list(unexpected)}]. ` +
      "Please verify that the loaded LoRA module is correct",
  );
}

/**
 * The first tensor that is larger than its place. Smaller ones are copied into a corner of it without a word,
 * because vLLM cuts the target to the shape of the adapter (`set_lora` in vllm/lora/layers).
 */
function findMisfit(tensors: ReadonlyMap<string, TensorInfo>, options: ReadOptions): string | undefined {
  for (const [tensor, { shape }] of tensors) {
    const { module, half } = parseTensorName(tensor);
    const width = options.base.widths.get(suffix(module));
    if (width === undefined) continue;
    const limits = half === "A" ? [options.maxLoraRank, width.input] : [width.output, options.maxLoraRank];
    const dimension = shape.findIndex((size, i) => size > (limits[i] ?? Number.POSITIVE_INFINITY));
    if (dimension >= 0) {
      const [a, b] = [limits[dimension], shape[dimension]];
      return `The size of tensor a (${a}) must match the size of tensor b (${b}) at non-singleton dimension ${dimension}`;
    }
  }
  return undefined;
}

async function readStart(file: FileHandle, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
  return buffer.subarray(0, bytesRead);
}

async function readTensors(file: FileHandle): Promise<ReadonlyMap<string, TensorInfo>> {
  const { size } = await file.stat();
  try {
    const header = headerBytes(await readStart(file, LENGTH_BYTES), size);
    return parseHeader((await readStart(file, LENGTH_BYTES + header)).subarray(LENGTH_BYTES), size);
  } catch (error) {
    if (error instanceof SafetensorsError) throw new WorkerError(error.message);
    throw error;
  }
}

async function digestOf(file: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false, highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex").slice(0, DIGEST_CHARACTERS);
}

/** Opens the file with the weights: safetensors, or else a pickle of PyTorch. */
async function openWeights(directory: string): Promise<{ readonly file: FileHandle; readonly isPickle: boolean }> {
  for (const name of [WEIGHTS_FILE, "adapter_model.bin", "adapter_model.pt"]) {
    try {
      return { file: await open(join(directory, name)), isPickle: name !== WEIGHTS_FILE };
    } catch (error) {
      if (!isMissing(error)) throw osError(error, join(directory, name));
    }
  }
  throw new WorkerError(`${directory} doesn't contain tensors`);
}

/** PyTorch's files are zip archives. What is in them is not looked at. */
async function checkPickle(file: FileHandle): Promise<void> {
  if ((await readStart(file, 2)).toString("latin1") !== "PK") throw new WorkerError("Invalid magic number; corrupt file?");
}

/**
 * Reads an adapter from a local directory and checks what vLLM checks, in its order and words.
 * @throws AdapterNotFoundError if there is no adapter_config.json
 * @throws WorkerError for everything else that vLLM refuses
 */
export async function readAdapter(directory: string, name: string, path: string, options: ReadOptions): Promise<Weights> {
  checkConfig(await readConfig(directory, name, path), options.maxLoraRank);
  const { file, isPickle } = await openWeights(directory);
  try {
    if (isPickle) {
      await checkPickle(file);
      return { digest: await digestOf(file) };
    }
    const tensors = await readTensors(file);
    checkModules(tensors, directory);
    const misfit = findMisfit(tensors, options);
    return { digest: await digestOf(file), ...(misfit === undefined ? {} : { misfit }) };
  } finally {
    await file.close();
  }
}

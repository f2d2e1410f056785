import type { ErrorShape } from "./errors.ts";
import type { EngineInput, HubOptions, LoraModule, MockSettings } from "./options.ts";

/** What the command line asks for. */
export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "error"; readonly message: string }
  | {
      readonly kind: "run";
      readonly host: string;
      readonly port: number;
      /** How long it takes until the engine listens, in milliseconds. */
      readonly startupDelayMs: number;
      readonly options: EngineInput;
      /** vLLM's flags that mean nothing here. */
      readonly ignored: readonly string[];
    };

export const HELP = `usage: aibrix_mock_engine [options]

Answers like vLLM's OpenAI-compatible server, without a model. Takes vLLM's flags:
  --model NAME_OR_DIR            base model; a local directory's config.json tells the sizes that adapters must fit
  --served-model-name NAME...    names of the base model (default: the model)
  --host HOST                    default 0.0.0.0
  --port PORT                    default 8000; 0 takes a free one
  --max-model-len N              tokens of prompt and answer (default: config.json, else 4096)
  --max-num-seqs N               requests that run at a time (default 256)
  --enable-lora                  serve LoRA adapters
  --runner pooling               a model that embeds: no requests for text
  --max-loras N                  distinct adapters that run at a time (default 1)
  --max-cpu-loras N              adapters kept in memory (default: --max-loras)
  --max-lora-rank N              default 16
  --lora-modules NAME=PATH...    adapters to load at the start; or JSON {"name", "path", "base_model_name"}
  --api-key KEY...               keys for /v1. The process list shows them: prefer the variable VLLM_API_KEY
  --uvicorn-log-level LEVEL      default info
Other flags of vLLM are accepted and ignored.

Flags that only this engine has:
  --mock-startup-delay-ms N      listen only after this time
  --mock-load-delay-ms N         wait before each load
  --mock-token-delay-ms N        wait before each generated token
  --mock-crash-on-load NAME      end with code 1 when this adapter, or one with weights of this digest, is to be loaded
  --mock-error-shape SHAPE       nested (default) or flat, as older releases answer
POST /mock/crash ends the process at once; POST /mock/settings {"loadDelayMs", "tokenDelayMs", "crashOnLoad", "errorShape"}
changes these while it runs.

Environment: VLLM_API_KEY, VLLM_ALLOW_RUNTIME_LORA_UPDATING (1 or true: adapters can be loaded by request),
HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE (for adapters named org/name).
`;

class ArgumentError extends Error {}

interface Flag {
  readonly name: string;
  readonly values: readonly string[];
}

/** Splits into flags and the words that follow them. Underscores count as dashes, as in vLLM. */
function flags(argv: readonly string[]): Flag[] {
  const found: { name: string; values: string[] }[] = [];
  for (const word of argv) {
    const match = /^(?<name>--[A-Za-z][\w-]*|-[a-z]+)(?:=(?<value>.*))?$/s.exec(word)?.groups;
    if (match === undefined) (found.at(-1) ?? found[found.push({ name: "", values: [] }) - 1])?.values.push(word);
    else found.push({ name: (match.name ?? "").replaceAll("_", "-"), values: match.value === undefined ? [] : [match.value] });
  }
  return found;
}

function one({ name, values }: Flag): string {
  if (values.length !== 1) throw new ArgumentError(`argument ${name}: expected one argument`);
  return values[0] ?? "";
}

function some({ name, values }: Flag): readonly string[] {
  if (values.length === 0) throw new ArgumentError(`argument ${name}: expected at least one argument`);
  return values;
}

function integer(flag: Flag): number {
  const text = one(flag);
  if (!/^\d+$/.test(text)) throw new ArgumentError(`argument ${flag.name}: invalid int value: '${text}'`);
  return Number(text);
}

function loraModule(text: string): LoraModule {
  const equals = text.indexOf("=");
  if (equals > 0 && !text.includes(",")) return { name: text.slice(0, equals), path: text.slice(equals + 1) };
  let json: Readonly<Record<string, unknown>>;
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    throw new ArgumentError(`Invalid JSON format for --lora-modules: ${text}`);
  }
  const { name, path, base_model_name: base } = json;
  if (typeof name !== "string" || typeof path !== "string")
    throw new ArgumentError(`Invalid fields for --lora-modules: ${text} - name and path are needed`);
  return { name, path, ...(typeof base === "string" ? { baseModelName: base } : {}) };
}

const LOG_LEVELS: Readonly<Record<string, NonNullable<EngineInput["logLevel"]>>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warning: "warn",
  error: "error",
  critical: "error",
};

/** What one flag says. */
interface Patch {
  readonly host?: string;
  readonly port?: number;
  readonly startupDelayMs?: number;
  readonly options?: Omit<EngineInput, "settings" | "hub">;
  readonly settings?: Partial<MockSettings>;
}

function logLevel(flag: Flag): NonNullable<EngineInput["logLevel"]> {
  const level = LOG_LEVELS[one(flag)];
  if (level === undefined) throw new ArgumentError(`argument ${flag.name}: invalid choice: '${one(flag)}'`);
  return level;
}

function errorShape(flag: Flag): ErrorShape {
  const shape = one(flag);
  if (shape === "nested" || shape === "flat") return shape;
  throw new ArgumentError(`argument ${flag.name}: invalid choice: '${shape}' (choose nested or flat)`);
}

const FLAGS: Readonly<Record<string, (flag: Flag) => Patch>> = {
  "--host": (f) => ({ host: one(f) }),
  "--port": (f) => ({ port: integer(f) }),
  "--model": (f) => ({ options: { model: one(f) } }),
  "--served-model-name": (f) => ({ options: { servedModelNames: some(f) } }),
  "--max-model-len": (f) => ({ options: { maxModelLen: integer(f) } }),
  "--max-num-seqs": (f) => ({ options: { maxNumSeqs: integer(f) } }),
  "--enable-lora": () => ({ options: { enableLora: true } }),
  "--runner": (f) => ({ options: { pooling: one(f) === "pooling" } }),
  "--no-enable-lora": () => ({ options: { enableLora: false } }),
  "--max-loras": (f) => ({ options: { maxLoras: integer(f) } }),
  "--max-cpu-loras": (f) => ({ options: { maxCpuLoras: integer(f) } }),
  "--max-lora-rank": (f) => ({ options: { maxLoraRank: integer(f) } }),
  "--lora-modules": (f) => ({ options: { loraModules: some(f).map(loraModule) } }),
  "--api-key": (f) => ({ options: { apiKeys: some(f) } }),
  "--uvicorn-log-level": (f) => ({ options: { logLevel: logLevel(f) } }),
  "--mock-startup-delay-ms": (f) => ({ startupDelayMs: integer(f) }),
  "--mock-load-delay-ms": (f) => ({ settings: { loadDelayMs: integer(f) } }),
  "--mock-token-delay-ms": (f) => ({ settings: { tokenDelayMs: integer(f) } }),
  "--mock-crash-on-load": (f) => ({ settings: { crashOnLoad: one(f) } }),
  "--mock-error-shape": (f) => ({ settings: { errorShape: errorShape(f) } }),
};

function merge(a: Required<Patch>, b: Patch): Required<Patch> {
  return { ...a, ...b, options: { ...a.options, ...b.options }, settings: { ...a.settings, ...b.settings } };
}

/** Flags of the model given as a bare word, as `vllm serve MODEL` takes it. */
function bare({ values }: Flag): Patch {
  if (values.length !== 1) throw new ArgumentError(`unrecognized arguments: ${values.join(" ")}`);
  return { options: { model: values[0] ?? "" } };
}

function isTrue(value: string | undefined, words: readonly string[]): boolean {
  return value !== undefined && words.includes(value.trim().toLowerCase());
}

function hub(env: NodeJS.ProcessEnv): Partial<HubOptions> {
  return {
    ...(env.HF_ENDPOINT ? { endpoint: env.HF_ENDPOINT } : {}),
    ...(env.HF_TOKEN ? { token: env.HF_TOKEN } : {}),
    ...(env.HF_HOME ? { home: env.HF_HOME } : {}),
    offline: isTrue(env.HF_HUB_OFFLINE, ["1", "true", "yes", "on"]),
  };
}

/** Reads the command line and the environment. Pure; the caller prints and exits. */
export function parseCommand(argv: readonly string[], env: NodeJS.ProcessEnv): Command {
  let said: Required<Patch> = { host: "0.0.0.0", port: 8000, startupDelayMs: 0, options: { logLevel: "info" }, settings: {} };
  const ignored: string[] = [];
  try {
    for (const flag of flags(argv)) {
      if (flag.name === "--help" || flag.name === "-h") return { kind: "help" };
      const read = flag.name === "" ? bare : FLAGS[flag.name];
      if (read !== undefined) said = merge(said, read(flag));
      else if (flag.name.startsWith("--mock-")) throw new ArgumentError(`unrecognized arguments: ${flag.name}`);
      else ignored.push(flag.name);
    }
  } catch (error) {
    if (error instanceof ArgumentError) return { kind: "error", message: error.message };
    throw error;
  }
  const { host, port, startupDelayMs, settings } = said;
  // As in vLLM, keys on the command line win over the variable.
  const apiKeys = (said.options.apiKeys ?? [env.VLLM_API_KEY ?? ""]).filter((key) => key !== "");
  const allowRuntimeLoraUpdating = isTrue(env.VLLM_ALLOW_RUNTIME_LORA_UPDATING, ["1", "true"]);
  const options = { ...said.options, apiKeys, allowRuntimeLoraUpdating, hub: hub(env), settings };
  return { kind: "run", host, port, startupDelayMs, options, ignored };
}

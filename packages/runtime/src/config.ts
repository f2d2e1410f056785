import { resolve } from "node:path";
import { ConfigError, type Flag, helpText, readFlags } from "@aibrix/service";

const FLAGS = {
  port: { type: "string", default: "8080", value: "PORT", help: "Port of the HTTP API; 0 takes a free one, which the log names." },
  host: { type: "string", default: "0.0.0.0", value: "ADDRESS", help: "Address that the HTTP API listens on." },
  "artifacts-dir": {
    type: "string",
    default: "/tmp/aibrix/adapters",
    value: "DIR",
    help: "Where downloaded adapters are kept; the engine must see it at the same path.",
  },
  "token-file": {
    type: "string",
    value: "FILE",
    help: "File with a token that every call which changes something must bring as Authorization: Bearer. Default: none is wanted.",
  },
  "engine-api-key-file": {
    type: "string",
    value: "FILE",
    help: "File with the engine's API key, for adapters that bring none. Default: each load call or manifest brings it.",
  },
  "adapters-dir": { type: "string", value: "DIR", help: "Folder of ModelAdapter manifests to follow, for use without a controller." },
  "pod-label": {
    type: "string",
    multiple: true,
    value: "KEY=VALUE",
    help: "Label that a manifest's podSelector is compared with; may be given several times.",
  },
  "max-lora-rank": {
    type: "string",
    value: "N",
    help: "The engine's --max-lora-rank: adapters of a higher rank are refused before the engine is asked. Without it the engine decides.",
  },
} as const satisfies Record<string, Flag>;

const ENVIRONMENT = `
Environment:
  INFERENCE_ENGINE                     Kind of the engine (default vllm, the only one so far).
  INFERENCE_ENGINE_ENDPOINT            Where the engine listens (default http://localhost:8000).
  HF_ENDPOINT, HF_TOKEN                Hub to fetch from (default https://huggingface.co), and its token.
  AWS_*                                Credentials, region and endpoint of S3 storage, as the AWS SDK reads them.
  LOG_LEVEL                            debug, info, warn or error (default info).
`;

/** Engines that there is a client for. */
export const SUPPORTED_ENGINES = ["vllm"] as const;

/** Settings, read once at the start. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Absolute. */
  readonly artifactsDir: string;
  /** Absolute; `undefined` where calls need no token. */
  readonly tokenFile: string | undefined;
  /** Absolute; `undefined` where the engine's key comes with each adapter. */
  readonly engineApiKeyFile: string | undefined;
  /** Absolute; `undefined` where no folder is followed. */
  readonly adaptersDir: string | undefined;
  readonly podLabels: Readonly<Record<string, string>>;
  /** The engine's `--max-lora-rank`; `undefined` where nobody said it. */
  readonly maxLoraRank: number | undefined;
  readonly engineKind: (typeof SUPPORTED_ENGINES)[number];
  readonly engineEndpoint: string;
}

/** The text of `--help`. */
export function help(): string {
  return (
    helpText(
      "aibrix_runtime: downloads LoRA adapters, checks them, and loads them into the inference engine beside it.\n\nUsage: aibrix_runtime --port 8080 [flags]",
      FLAGS,
    ) + ENVIRONMENT
  );
}

/**
 * Reads command line and environment.
 *
 * @returns the settings, or `undefined` where `--help` was asked for
 * @throws ConfigError that names every setting that cannot be used
 */
export function readConfig(argv: readonly string[], env: NodeJS.ProcessEnv): Config | undefined {
  const flags = readFlags(FLAGS, argv);
  if (flags === undefined) return undefined;
  const problems: string[] = [];
  const port = Number(flags.port);
  if (!/^\d{1,5}$/.test(flags.port) || port > 65_535) problems.push(`--port=${flags.port}: write a number from 0 to 65535`);
  const rankText = flags["max-lora-rank"];
  const maxLoraRank = readRank(rankText);
  if (rankText !== undefined && maxLoraRank === undefined)
    problems.push(`--max-lora-rank=${rankText}: write the number that the engine was started with, 16 for example`);
  const podLabels: Record<string, string> = {};
  for (const label of flags["pod-label"]) {
    const [, key, value] = /^([^=\s]+)=(\S*)$/.exec(label) ?? [];
    if (key === undefined || value === undefined)
      problems.push(`--pod-label=${label}: write KEY=VALUE, model.aibrix.ai/name=my-base-model for example`);
    else podLabels[key] = value;
  }
  const kind = env.INFERENCE_ENGINE || "vllm";
  const engineKind = SUPPORTED_ENGINES.find((k) => k === kind);
  if (engineKind === undefined)
    problems.push(`INFERENCE_ENGINE=${kind}: no such engine is supported; write ${SUPPORTED_ENGINES.join(" or ")}`);
  const engineEndpoint = env.INFERENCE_ENGINE_ENDPOINT || "http://localhost:8000";
  if (!isHttpUrl(engineEndpoint)) problems.push(`INFERENCE_ENGINE_ENDPOINT=${engineEndpoint}: write a URL such as http://localhost:8000`);
  else if (isOwnAddress(engineEndpoint, port))
    problems.push(`INFERENCE_ENGINE_ENDPOINT=${engineEndpoint}: that is the port of this program itself; write the engine's`);
  if (env.HF_ENDPOINT && !isHttpUrl(env.HF_ENDPOINT))
    problems.push(`HF_ENDPOINT=${env.HF_ENDPOINT}: write a URL such as https://huggingface.co`);
  if (problems.length > 0 || engineKind === undefined) throw new ConfigError(problems.join("\n"));
  const adaptersDir = flags["adapters-dir"];
  const tokenFile = flags["token-file"];
  const engineApiKeyFile = flags["engine-api-key-file"];
  return {
    host: flags.host,
    port,
    artifactsDir: resolve(flags["artifacts-dir"]),
    tokenFile: tokenFile === undefined ? undefined : resolve(tokenFile),
    engineApiKeyFile: engineApiKeyFile === undefined ? undefined : resolve(engineApiKeyFile),
    adaptersDir: adaptersDir === undefined ? undefined : resolve(adaptersDir),
    podLabels,
    maxLoraRank,
    engineKind,
    engineEndpoint,
  };
}

/** A `--max-lora-rank`, or `undefined` for what is none. */
export function readRank(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,4}$/.test(text) ? Number(text) : undefined;
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && ["http:", "https:"].includes(new URL(text).protocol);
}

/** An engine that is this program would ask itself for ever. */
function isOwnAddress(url: string, port: number): boolean {
  const { hostname, port: theirs } = new URL(url);
  return Number(theirs) === port && port !== 0 && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0)$/.test(hostname);
}

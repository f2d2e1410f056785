import { resolve } from "node:path";
import { ConfigError, everyAddress, type Flag, helpText, readFlags } from "@aibrix/service";
import { POD_FOLDER } from "./artifact/store/layout.ts";
import type { CacheBounds } from "./artifact/store/pool.ts";
import type { TransferSettings } from "./artifact/transfer/transfers.ts";
import { commandsHelp } from "./commands/commands.ts";
import { type AllowedHosts, readAllowedHosts } from "./egress/allowed.ts";
import { endpointProblems, hasUserInfo, isHttpUrl, userInfoProblem } from "./egress/endpoints.ts";
import { readRank } from "./rank.ts";

const FLAGS = {
  port: { type: "string", default: "8080", value: "PORT", help: "Port of the HTTP API; 0 takes a free one, which the log names." },
  host: { type: "string", value: "ADDRESS", help: "Address that the HTTP API listens on. Default: every one, of IPv6 too." },
  "artifacts-dir": {
    type: "string",
    default: "/tmp/aibrix/adapters",
    value: "DIR",
    help: "Where downloaded adapters are kept; the engine must see it at the same path.",
  },
  "models-dir": {
    type: "string",
    default: "/tmp/aibrix/models",
    value: "DIR",
    help: "Where POST /v1/model/download puts base models, each in a folder of its own; the engine must see it.",
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
  "pod-folder": {
    type: "string",
    value: "NAME",
    help: "This pod's folder in a volume that the pods of a node share, a hostPath for example (default $POD_UID): adapters are kept in pods/NAME, what was downloaded is common to all. Without it a volume is this pod's alone.",
  },
  "cache-size": {
    type: "string",
    value: "SIZE",
    help: "Most that downloaded adapters may take on a volume, 50Gi for example; the least recently used ones go, never those in use. No bound by default.",
  },
  "cache-min-free": {
    type: "string",
    default: "5%",
    value: "SIZE",
    help: "What is to stay free on a volume, 10Gi or 5% for example; the least recently used adapters go, never those in use.",
  },
  "allow-artifact-hosts": {
    type: "string",
    value: "HOSTS",
    help: "Hosts (also *.suffix) and networks that artifacts may come from although they are loopback, link-local or metadata addresses; separated by commas. Also AIBRIX_ALLOW_ARTIFACT_HOSTS.",
  },
  "download-timeout": {
    type: "string",
    default: "12h",
    value: "TIME",
    help: "Longest time for one artifact, 90m for example; what has arrived is gone on with at the next try.",
  },
  "download-rate-limit": {
    type: "string",
    value: "RATE",
    help: "Bytes per second of all downloads together, 100Mi for example. No limit by default.",
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
  probe: {
    type: "string",
    default: "auto",
    value: "auto|off",
    help: "auto: an adapter counts as serving once the engine has answered a request of one token under its name, after it was loaded first. off: once the engine lists it.",
  },
} as const satisfies Record<string, Flag>;

const ENVIRONMENT = `
Environment:
  INFERENCE_ENGINE                     Kind of the engine (default vllm, the only one so far).
  INFERENCE_ENGINE_ENDPOINT            Where the engine listens (default http://localhost:8000).
  HF_ENDPOINT, HF_TOKEN                Hub to fetch from (default https://huggingface.co), and its token.
  POD_UID                              Default of --pod-folder.
  AWS_*                                Credentials, region and endpoint of S3 storage, as the AWS SDK reads them.
  GOOGLE_APPLICATION_CREDENTIALS       Service account for gs://, as Google's client reads it; STORAGE_EMULATOR_HOST names an emulator.
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY    Proxies for downloads.
  NODE_EXTRA_CA_CERTS                  File with further certificate authorities to trust.
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
  /** Absolute; made when the first base model is asked for. */
  readonly modelsDir: string;
  /** Absolute; `undefined` where calls need no token. */
  readonly tokenFile: string | undefined;
  /** Absolute; `undefined` where the engine's key comes with each adapter. */
  readonly engineApiKeyFile: string | undefined;
  /** This pod's folder in volumes that pods share; `undefined` where they are its own. */
  readonly podFolder: string | undefined;
  readonly cache: CacheBounds;
  readonly transfer: TransferSettings;
  /** Absolute; `undefined` where no folder is followed. */
  readonly adaptersDir: string | undefined;
  readonly podLabels: Readonly<Record<string, string>>;
  /** The engine's `--max-lora-rank`; `undefined` where nobody said it. */
  readonly maxLoraRank: number | undefined;
  /** Whether first loads are probed where a declaration does not say it. */
  readonly probe: "auto" | "off";
  /** What artifacts may come from although it is guarded. */
  readonly allowedHosts: AllowedHosts;
  readonly engineKind: (typeof SUPPORTED_ENGINES)[number];
  readonly engineEndpoint: string;
}

/** The text of `--help`. */
export function help(): string {
  return (
    helpText(
      "aibrix_runtime: downloads LoRA adapters, checks them, and loads them into the inference engine beside it.\n\nUsage: aibrix_runtime --port 8080 [flags]\n       aibrix_runtime COMMAND [flags]",
      FLAGS,
    ) +
    commandsHelp() +
    ENVIRONMENT
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
  const probe = (["auto", "off"] as const).find((value) => value === flags.probe);
  if (probe === undefined) problems.push(`--probe=${flags.probe}: write auto or off`);
  const podLabels: Record<string, string> = {};
  for (const label of flags["pod-label"]) {
    const [, key, value] = /^([^=\s]+)=(\S*)$/.exec(label) ?? [];
    if (key === undefined || value === undefined)
      problems.push(`--pod-label=${label}: write KEY=VALUE, model.aibrix.ai/name=my-base-model for example`);
    else podLabels[key] = value;
  }
  const hosts = flags["allow-artifact-hosts"] ?? env.AIBRIX_ALLOW_ARTIFACT_HOSTS ?? "";
  const allowedHosts = readAllowedHosts(hosts);
  if ("bad" in allowedHosts)
    problems.push(
      `--allow-artifact-hosts=${hosts}: "${allowedHosts.bad}" is no host; write for example 127.0.0.1,*.storage.internal,169.254.20.0/24`,
    );
  const transfer = readTransfer(flags["download-timeout"], flags["download-rate-limit"], problems);
  const kind = env.INFERENCE_ENGINE || "vllm";
  const engineKind = SUPPORTED_ENGINES.find((k) => k === kind);
  if (engineKind === undefined)
    problems.push(`INFERENCE_ENGINE=${kind}: no such engine is supported; write ${SUPPORTED_ENGINES.join(" or ")}`);
  problems.push(...endpointProblems(env));
  const engineEndpoint = env.INFERENCE_ENGINE_ENDPOINT || "http://localhost:8000";
  if (hasUserInfo(engineEndpoint))
    problems.push(userInfoProblem("INFERENCE_ENGINE_ENDPOINT", "give the engine's key with --engine-api-key-file"));
  else if (!isHttpUrl(engineEndpoint))
    problems.push(`INFERENCE_ENGINE_ENDPOINT=${engineEndpoint}: write a URL such as http://localhost:8000`);
  else if (isOwnAddress(engineEndpoint, port))
    problems.push(`INFERENCE_ENGINE_ENDPOINT=${engineEndpoint}: that is the port of this program itself; write the engine's`);
  const podFolder = flags["pod-folder"] || env.POD_UID || undefined;
  if (podFolder !== undefined && !POD_FOLDER.test(podFolder))
    problems.push(`--pod-folder=${podFolder}: write one folder's name, the pod's uid for example`);
  const maxBytes = flags["cache-size"] === undefined ? undefined : readSize(flags["cache-size"]);
  if (flags["cache-size"] !== undefined && maxBytes === undefined)
    problems.push(`--cache-size=${flags["cache-size"]}: write a size such as 50Gi or 500M`);
  const minFree = readMinFree(flags["cache-min-free"]);
  if (minFree === undefined) problems.push(`--cache-min-free=${flags["cache-min-free"]}: write a size such as 10Gi, or a share such as 5%`);
  if (problems.length > 0 || minFree === undefined || engineKind === undefined || "bad" in allowedHosts)
    throw new ConfigError(problems.join("\n"));
  const adaptersDir = flags["adapters-dir"];
  const tokenFile = flags["token-file"];
  const engineApiKeyFile = flags["engine-api-key-file"];
  return {
    host: flags.host || everyAddress(),
    port,
    artifactsDir: resolve(flags["artifacts-dir"]),
    modelsDir: resolve(flags["models-dir"]),
    tokenFile: tokenFile === undefined ? undefined : resolve(tokenFile),
    engineApiKeyFile: engineApiKeyFile === undefined ? undefined : resolve(engineApiKeyFile),
    podFolder,
    cache: { maxBytes, minFree },
    transfer,
    adaptersDir: adaptersDir === undefined ? undefined : resolve(adaptersDir),
    podLabels,
    maxLoraRank,
    probe: probe ?? "auto",
    allowedHosts,
    engineKind,
    engineEndpoint,
  };
}

const UNITS = { "": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 } as const;

/** Reads a size as Kubernetes writes it, in bytes. */
function readSize(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,15}(?:\.\d{1,6})?)(|k|K|M|G|T|Ki|Mi|Gi|Ti)$/.exec(text) ?? [];
  return number === undefined ? undefined : Math.round(Number(number) * UNITS[unit as keyof typeof UNITS]);
}

function readMinFree(text: string): CacheBounds["minFree"] | undefined {
  const percent = /^(\d{1,2})%$/.exec(text)?.[1];
  if (percent !== undefined) return { share: Number(percent) / 100 };
  const bytes = readSize(text);
  return bytes === undefined ? undefined : { bytes };
}

/** A lower limit would make each chunk that comes wait for minutes. */
const MIN_RATE = 64 * 1024;
const MAX_TIMEOUT_MS = 7 * 24 * 3_600_000;

function readTransfer(timeout: string, rate: string | undefined, problems: string[]): TransferSettings {
  const timeoutMs = readDurationMs(timeout) ?? 0;
  if (timeoutMs <= 0 || timeoutMs > MAX_TIMEOUT_MS)
    problems.push(`--download-timeout=${timeout}: write a time with its unit, 30s, 90m or 12h for example, at most 7d`);
  const bytesPerSecond = rate === undefined ? Number.POSITIVE_INFINITY : (readSize(rate) ?? 0);
  if (bytesPerSecond < MIN_RATE)
    problems.push(`--download-rate-limit=${rate}: write bytes per second with their unit, 500Ki, 100Mi or 1G for example, at least 64Ki`);
  return { timeoutMs, bytesPerSecond };
}

const TIME_UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function readDurationMs(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * TIME_UNITS_MS[unit as keyof typeof TIME_UNITS_MS];
}

/** An engine that is this program would ask itself for ever. */
function isOwnAddress(url: string, port: number): boolean {
  const { hostname, port: theirs } = new URL(url);
  return Number(theirs) === port && port !== 0 && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0|\[::\])$/.test(hostname);
}

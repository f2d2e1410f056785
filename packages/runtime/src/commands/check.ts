import { mkdtemp, rm, stat } from "node:fs/promises";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ARTIFACT_SCHEMES, ArtifactUrlError, type CheckReport, parseArtifactUrl } from "@aibrix/api";
import { ConfigError, type Flag, helpText, readFlags } from "@aibrix/service";
import { readBaseModel } from "../artifact/check/base-model.ts";
import { Checks } from "../artifact/check/checks.ts";
import { IDLE_TIMEOUT_MS } from "../artifact/transfer/receive.ts";
import { Transfers, UNLIMITED } from "../artifact/transfer/transfers.ts";
import { Egress } from "../egress/egress.ts";
import { endpointProblems } from "../egress/endpoints.ts";
import { readRank } from "../rank.ts";
import type { Command, CommandIo } from "./command.ts";
import { size } from "./size.ts";

const FLAGS = {
  "max-lora-rank": { type: "string", value: "N", help: "Refuse a higher rank than this, as an engine with the same flag does." },
  "base-model": { type: "string", value: "DIR", help: "Compare with the base model in this folder, by its config.json." },
  deep: {
    type: "boolean",
    help: "Read every byte, and check sizes and hashes; else only adapter_config.json and the headers of the weights.",
  },
  json: { type: "boolean", help: "Write the report as JSON, as POST /v1/lora_adapter/check answers." },
} as const satisfies Record<string, Flag>;

const USAGE = `aibrix_runtime check: tells what a load of an artifact would find. Nothing is loaded or kept.

Usage: aibrix_runtime check URL [flags]
       URL: as a ModelAdapter's artifactURL: ${ARTIFACT_SCHEMES.map((s) => s.form).join(", ")}`;

const MORE = `
Environment:
  HF_ENDPOINT, HF_TOKEN, AWS_*         Credentials and endpoints, as for the sidecar; never as arguments.

Exit codes: 0 the adapter is good, 1 it is not or cannot be read, 2 the command line cannot be used.
`;

/** How often progress is told, in milliseconds. */
const PROGRESS_MS = 1_000;

/** `aibrix_runtime check URL`. */
export const check: Command = async (argv, { env, stdout, stderr }, signal) => {
  const { url, rest } = splitUrl(argv);
  const flags = readFlags(FLAGS, rest);
  if (flags === undefined) {
    stdout.write(`${helpText(USAGE, FLAGS)}${MORE}`);
    return 0;
  }
  checkUrl(url);
  const problems = endpointProblems(env);
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  const maxLoraRank = readRank(flags["max-lora-rank"]);
  if (flags["max-lora-rank"] !== undefined && maxLoraRank === undefined)
    throw new ConfigError(`--max-lora-rank=${flags["max-lora-rank"]}: write a number, 16 for example`);
  const base = await readBase(flags["base-model"]);
  // Whoever sits at a shell reaches every address anyway.
  const egress = new Egress({ hosts: ["*"], networks: new BlockList() }, env, IDLE_TIMEOUT_MS);
  const transfers = new Transfers(UNLIMITED, egress);
  const checks = new Checks({ env, folders: TEMPORARY, egress, transfers });
  try {
    const engine = { maxLoraRank, base };
    const report = await checks.run({ url, credentials: {}, deep: flags.deep, engine, onProgress: progress(stderr) }, signal);
    stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : checkText(report));
    return report.ok ? 0 : 1;
  } finally {
    await transfers.close();
    await egress.close();
  }
};

const TEMPORARY = {
  newFolder: () => mkdtemp(join(tmpdir(), "aibrix-check-")),
  discard: (folder: string) => rm(folder, { recursive: true, force: true }),
};

/** The URL stands first, or last. */
function splitUrl(argv: readonly string[]): { readonly url: string; readonly rest: readonly string[] } {
  const [first] = argv;
  if (first !== undefined && !first.startsWith("-")) return { url: first, rest: argv.slice(1) };
  const last = argv.at(-1);
  return last !== undefined && !last.startsWith("-") ? { url: last, rest: argv.slice(0, -1) } : { url: "", rest: argv };
}

function checkUrl(url: string): void {
  if (url === "") throw new ConfigError("which artifact? Write aibrix_runtime check URL; --help tells more");
  try {
    parseArtifactUrl(url);
  } catch (error) {
    if (error instanceof ArtifactUrlError) throw new ConfigError(`${url}: ${error.message}`);
    throw error;
  }
}

async function readBase(dir: string | undefined) {
  if (dir === undefined) return undefined;
  const base = await readBaseModel([{ id: "base", root: resolve(dir), parent: undefined, raw: {} }]);
  if (base === undefined) throw new ConfigError(`--base-model=${dir}: ${await whyNoBase(resolve(dir))}`);
  return base;
}

async function whyNoBase(dir: string): Promise<string> {
  const folder = await stat(dir).catch((error: NodeJS.ErrnoException) => error);
  if (folder instanceof Error)
    return folder.code === "ENOENT" ? "there is no such folder" : `the folder cannot be read (${folder.code}): see to its permissions`;
  if (!folder.isDirectory()) return "this is no folder: write the one that holds the model's config.json";
  const config = await stat(join(dir, "config.json")).catch(() => undefined);
  if (config === undefined) return "the folder holds no config.json that can be read: write the one of the base model";
  return "its config.json is of no model whose layers are known here; leave the flag out";
}

/** Tells now and then how far a download is. */
function progress(stderr: CommandIo["stderr"]): (bytes: number, totalBytes: number) => void {
  let toldMs = performance.now();
  return (bytes, totalBytes) => {
    if (performance.now() - toldMs < PROGRESS_MS) return;
    toldMs = performance.now();
    stderr.write(`${size(bytes)} of ${size(totalBytes)}\n`);
  };
}

/** The report for people. */
export function checkText(r: CheckReport): string {
  const { max_lora_rank: limit, architecture } = r.compared_with;
  const compared = [limit === undefined ? [] : [`--max-lora-rank ${limit}`], architecture === undefined ? [] : [architecture]].flat();
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["artifact", r.artifact_url],
    ["revision", r.resolved_revision],
    ["files", r.files.length === 0 ? undefined : r.files.map((f) => `${f.name} (${size(f.size_bytes)})`).join(", ")],
    ["digest", r.content_digest],
    ["rank", r.rank === r.max_rank ? text(r.rank) : `${r.rank}, up to ${r.max_rank} by rank_pattern`],
    ["modules", r.target_modules?.join(", ")],
    ["weights", r.tensors === undefined ? undefined : `${r.tensors} tensors of ${r.dtypes?.join(", ")}`],
    ["trained on", r.base_model],
    ["compared with", compared.length === 0 ? "no engine: see --max-lora-rank and --base-model" : compared.join(", ")],
    ["read", r.deep ? "every byte" : "headers only: see --deep"],
    ...r.warnings.map((w) => ["warning", w.replace(/^warning: /, "")] as const),
    ["result", r.error === undefined ? "good" : `${r.error.code}: ${r.error.message}`],
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [`${`${name}:`.padEnd(15)}${value}\n`])).join("");
}

function text(value: number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

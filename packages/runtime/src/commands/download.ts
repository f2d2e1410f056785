import { BlockList } from "node:net";
import { resolve } from "node:path";
import { ConfigError, type Flag, helpText, readFlags } from "@aibrix/service";
import type { Listing } from "../artifact/sources/source.ts";
import { IDLE_TIMEOUT_MS } from "../artifact/transfer/receive.ts";
import { Transfers, UNLIMITED } from "../artifact/transfer/transfers.ts";
import { Egress } from "../egress/egress.ts";
import { AdapterError } from "../errors.ts";
import { type FetchedModel, fetchModel, modelPath, type WantedModel } from "../models/fetch.ts";
import { modelBytes } from "../models/manifest.ts";
import { modelFolderName, parseModelUri, readSuffixes } from "../models/model-uri.ts";
import { modelAbove } from "../models/place.ts";
import type { Command } from "./command.ts";
import { readCredentialsDir } from "./credentials-dir.ts";
import { ProgressDisplay } from "./progress.ts";
import { size } from "./size.ts";

const FLAGS = {
  "model-uri": {
    type: "string",
    value: "URI",
    help: "huggingface://ORG/REPO[@REVISION][/FOLDER], hf://…, just ORG/REPO, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
  },
  "local-dir": {
    type: "string",
    value: "DIR",
    help: "Folder that the model becomes a folder in. Default: $DOWNLOADER_LOCAL_DIR.",
  },
  "model-name": {
    type: "string",
    value: "NAME",
    help: "Name of the model's folder, with _ for /. Default: $DOWNLOADER_MODEL_NAME, else the last part of the URI.",
  },
  "allow-file-suffix": {
    type: "string",
    value: "LIST",
    help: 'Only files whose names end so: "json, safetensors". Default: $DOWNLOADER_ALLOW_FILE_SUFFIX, else all files.',
  },
  "credentials-dir": {
    type: "string",
    value: "DIR",
    help: "Folder of a mounted Secret, with a file for each key: huggingface_token, aws_access_key_id and so on.",
  },
  "enable-progress-bar": { type: "boolean", help: "Draw a progress bar even where standard error is no terminal." },
} as const satisfies Record<string, Flag>;

const USAGE = `aibrix_download: brings a whole model to a folder, for init containers. The folder is there once the model is whole.

Usage: aibrix_download --model-uri URI --local-dir DIR [flags]`;

const MORE = `
A second run downloads nothing where everything is here. One that was ended, or killed, is gone on with at the next run.
The last line of standard output is the model's folder.

Environment:
  HF_ENDPOINT, HF_TOKEN                Hub to fetch from (default https://huggingface.co), and its token.
  AWS_*                                Credentials, region and endpoint of S3 storage, as the AWS SDK reads them.
  GOOGLE_APPLICATION_CREDENTIALS       Service account for gs://, as Google's client reads it.
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY    Proxies for downloads.
  NODE_EXTRA_CA_CERTS                  File with further certificate authorities to trust.
  DOWNLOADER_LOCAL_DIR                 Default of --local-dir.
  DOWNLOADER_MODEL_NAME                Default of --model-name.
  DOWNLOADER_ALLOW_FILE_SUFFIX         Default of --allow-file-suffix.
  DOWNLOADER_NUM_THREADS               Files and requests at once, 1 to 256 (default 8).
  POD_UID                              The pod, where several share the folder; in a pod its name stands in for it.

Exit codes: 0 the model is here, 1 it is not, 2 the command line cannot be used.
`;

/** `aibrix_download`, and `aibrix_runtime download`. */
export const download: Command = async (argv, { env, stdout, stderr }, signal) => {
  const flags = readFlags(FLAGS, argv);
  if (flags === undefined) {
    stdout.write(`${helpText(USAGE, FLAGS)}${MORE}`);
    return 0;
  }
  const connections = readThreads(env.DOWNLOADER_NUM_THREADS);
  const wanted = await readWanted(flags, env);
  // Whoever writes a pod's command reaches every address that the pod does.
  const egress = new Egress({ hosts: ["*"], networks: new BlockList() }, env, IDLE_TIMEOUT_MS);
  const transfers = new Transfers({ ...UNLIMITED, ...connections }, egress);
  const display = new ProgressDisplay(stderr, flags["enable-progress-bar"]);
  try {
    const watcher = {
      listed: (listing: Listing) => void stderr.write(`${wanted.uri}: ${listingText(listing)}\n`),
      progress: (progress: Parameters<ProgressDisplay["update"]>[0]) => display.update(progress),
    };
    const model = await fetchModel(wanted, { env, egress, transfers }, watcher, signal);
    display.end();
    stderr.write(`${doneText(model)}\n`);
    stdout.write(`${model.path}\n`);
    return 0;
  } catch (error) {
    display.end();
    if (signal.aborted)
      stderr.write(`ended by a signal: what has arrived is kept below ${wanted.localDir}, and the next run goes on with it\n`);
    else if (error instanceof AdapterError) stderr.write(`${modelPath(wanted)} is not here: ${error.reason}: ${error.message}\n`);
    else throw error;
    return 1;
  } finally {
    await transfers.close();
    await egress.close();
  }
};

async function readWanted(
  flags: { readonly [K in keyof typeof FLAGS as Exclude<K, "enable-progress-bar">]: string | undefined },
  env: NodeJS.ProcessEnv,
): Promise<WantedModel> {
  const uri = flags["model-uri"];
  if (!uri) throw new ConfigError("which model? Write --model-uri URI; --help tells more");
  const dir = flags["local-dir"] || env.DOWNLOADER_LOCAL_DIR;
  if (!dir) throw new ConfigError("where to? Write --local-dir DIR, or set DOWNLOADER_LOCAL_DIR");
  const localDir = resolve(dir);
  const above = await modelAbove("/", localDir);
  if (above !== undefined) throw new ConfigError(`--local-dir=${dir}: ${above} is a model's own folder: write a folder beside it`);
  const keys = await readCredentialsDir(flags["credentials-dir"]);
  const suffixes = readSuffixes(flags["allow-file-suffix"] ?? env.DOWNLOADER_ALLOW_FILE_SUFFIX);
  try {
    const parsed = parseModelUri(uri);
    const name = modelFolderName(flags["model-name"] || env.DOWNLOADER_MODEL_NAME || undefined, parsed.source);
    return { ...parsed, suffixes, localDir, name, secret: { keys } };
  } catch (error) {
    if (error instanceof AdapterError) throw new ConfigError(error.message);
    throw error;
  }
}

function readThreads(text: string | undefined): { readonly connections?: number } {
  if (!text) return {};
  const connections = Number(text);
  if (Number.isInteger(connections) && connections >= 1 && connections <= 256) return { connections };
  throw new ConfigError(`DOWNLOADER_NUM_THREADS=${text}: write a number from 1 to 256`);
}

function listingText({ files, revision }: Listing): string {
  const bytes = files.reduce((sum, f) => sum + f.sizeBytes, 0);
  return `${files.length} files, ${size(bytes)}${revision === undefined ? "" : `, commit ${revision}`}`;
}

function doneText({ path, manifest, fetched, unasked }: FetchedModel): string {
  const what = `${manifest.files.length} files, ${size(modelBytes(manifest))}, in ${path}`;
  if (fetched) return `the model is here: ${what}`;
  if (unasked !== undefined) return `the model was here already: ${what}; whether it is the newest is not known: ${unasked}`;
  return `the model was here already, nothing was downloaded: ${what}`;
}

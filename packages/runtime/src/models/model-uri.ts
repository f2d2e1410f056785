import { type ArtifactSource, ArtifactUrlError, parseArtifactUrl } from "@aibrix/api";
import { AdapterError } from "../errors.ts";

/** Kinds of storage that whole models come from. */
export type ModelSource = Extract<ArtifactSource, { readonly kind: "huggingface" | "s3" | "gs" }>;

/** One folder's name that neither leaves its parent nor hides. */
const MODEL_NAME = /^[A-Za-z0-9_][-A-Za-z0-9_.]{0,254}$/;

const FORMS = "write huggingface://ORG/REPO[@REVISION], ORG/REPO, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX";

/**
 * Reads the URI of a whole model; a bare `ORG/REPO` is a repository of the Hub.
 *
 * @throws AdapterError `InvalidArtifactURL`
 */
export function parseModelUri(uri: string): { readonly uri: string; readonly source: ModelSource } {
  // No artifact's path begins without a slash.
  const whole = uri.includes("://") || uri.startsWith("/") ? uri : `huggingface://${uri}`;
  const source = read(whole, uri);
  if (source.kind === "path") throw invalid(`${uri} is a folder that is mounted here already: give it to the engine as it is, or ${FORMS}`);
  if (source.kind === "http") throw invalid(`model_uri ${uri} is an archive, and only adapters come as one: ${FORMS}`);
  return { uri: whole, source };
}

function read(whole: string, shown: string): ArtifactSource {
  try {
    return parseArtifactUrl(whole);
  } catch (error) {
    if (!(error instanceof ArtifactUrlError)) throw error;
    const known = /^(huggingface|hf|s3|gs|gcs):\/\//.test(shown);
    throw invalid(known ? error.message.replace(/^artifactURL/, "model_uri") : `model_uri "${clip(shown)}" is of no known kind: ${FORMS}`);
  }
}

/** A URI as it may be shown: without what may be a password, and not endless. */
function clip(uri: string): string {
  return uri.replace(/(:\/\/)[^/@]*@/, "$1***@").slice(0, 200);
}

/**
 * The name of a model's folder: the one that is given, with `_` for `/` as AIBrix has it, else the last part of where it comes from.
 *
 * @throws AdapterError `InvalidArtifactURL` for what cannot be one folder's name
 */
export function modelFolderName(given: string | undefined, source: ModelSource): string {
  const name = given?.replaceAll("/", "_") ?? lastPart(source);
  if (MODEL_NAME.test(name)) return name;
  throw invalid(
    `"${name.slice(0, 100)}" cannot be the model's folder: give a model name of letters, digits, '-', '_' and '.', with no dot in front`,
  );
}

function lastPart(source: ModelSource): string {
  const path = source.kind === "huggingface" ? source.path || source.repo : source.prefix;
  return path.split("/").findLast((part) => part !== "") ?? "";
}

/** Whether two sources are the same model, of whatever revision. */
export function isSameModel(a: ModelSource, b: ModelSource): boolean {
  return JSON.stringify({ ...a, revision: 0, sha256: 0 }) === JSON.stringify({ ...b, revision: 0, sha256: 0 });
}

/** Reads a list of suffixes, `json, safetensors`; sorted, each once. None lets every file through. */
export function readSuffixes(text: string | undefined): readonly string[] {
  const suffixes = (text ?? "").split(",").map((s) => s.trim());
  return [...new Set(suffixes.filter((s) => s !== ""))].sort();
}

function invalid(message: string): AdapterError {
  return new AdapterError("InvalidArtifactURL", message);
}

/** Kinds of one-file artifacts that are unpacked. */
export type ArchiveKind = "tar" | "tar.gz" | "zip";

/** Where an adapter's files come from. */
export type ArtifactSource = (
  | {
      readonly kind: "huggingface";
      readonly repo: string;
      readonly revision: string | undefined;
      /** Folder in the repository, without slashes at its ends; empty for the top. */
      readonly path: string;
    }
  | { readonly kind: "s3" | "gs"; readonly bucket: string; readonly prefix: string }
  | { readonly kind: "http"; readonly url: string; readonly archive: ArchiveKind }
  | { readonly kind: "path"; readonly path: string }
) & {
  /** The pin: content digest, or sha256 of the archive, in lower-case hex. */
  readonly sha256?: string;
};

/** One row of the table of artifact URLs. The schema's rule, the parser and the reference are made from it. */
export interface ArtifactScheme {
  readonly kind: ArtifactSource["kind"];
  /** What an artifactURL of this kind begins with. */
  readonly prefixes: readonly string[];
  /** The whole form without the pin, as an RE2 regular expression (CEL's `matches`) that JavaScript reads the same way; not anchored. */
  readonly form: string;
  readonly pattern: string;
  readonly example: string;
  readonly description: string;
}

/** A part of a path or key, between slashes. Control characters are in no name that anybody means. */
const SEGMENT = "[^/#?\\x00-\\x1f\\x7f]+";

/** The key of a folder in a bucket. It is not empty: `//` is no folder, and one that begins with a slash has a name after it. */
const PREFIX = "/*[^/#?\\x00-\\x1f\\x7f][^#?\\x00-\\x1f\\x7f]*";

/** The optional pin at the end of every artifactURL. */
export const PIN_PATTERN = "(#sha256=[0-9a-f]{64})?";
export const PIN_FORM = "#sha256=DIGEST";

/**
 * Every kind of artifactURL that can be loaded. A kind is listed once it works: what is not here is refused when it is applied.
 *
 * Names of Hub organisations and repositories: letters, digits, `-`, `_`, `.` (huggingface_hub `validate_repo_id`); names of a git
 * branch or tag begin with neither `.` nor `-` (git check-ref-format); bucket names: 3 to 63 of lower-case letters, digits, `.` and `-`
 * (Amazon S3, "Bucket naming rules"), with `_` too and up to 222 in all with dots (Google Cloud Storage, "Bucket names").
 */
export const ARTIFACT_SCHEMES: readonly ArtifactScheme[] = [
  {
    kind: "huggingface",
    prefixes: ["huggingface://", "hf://"],
    pattern: `(huggingface|hf)://[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*(@[A-Za-z0-9_][-A-Za-z0-9_.]*)?(/${SEGMENT})*/?`,
    form: "huggingface://ORG/REPO[@REVISION][/FOLDER]",
    example: "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora",
    description:
      "A repository on the Hugging Face Hub, or on the server that `HF_ENDPOINT` names, or a folder in it. A revision is a branch, a tag or a commit.",
  },
  {
    kind: "s3",
    prefixes: ["s3://"],
    pattern: `s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]/${PREFIX}`,
    form: "s3://BUCKET/PREFIX",
    example: "s3://models/adapters/qwen-code-lora",
    description:
      "Every object under a prefix of a bucket in S3 compatible storage. The prefix counts as a folder, with or without a final slash.",
  },
  {
    kind: "gs",
    prefixes: ["gs://", "gcs://"],
    pattern: `(gs|gcs)://[a-z0-9][-a-z0-9._]{1,220}[a-z0-9]/${PREFIX}`,
    form: "gs://BUCKET/PREFIX",
    example: "gs://models/adapters/qwen-code-lora",
    description: "Every object under a prefix of a bucket in Google Cloud Storage. The prefix counts as a folder, as with `s3://`.",
  },
  {
    kind: "http",
    prefixes: ["https://", "http://"],
    // User names are let through here: a rule of their own says where to put them.
    pattern: `https?://([^/?#@]*@)?([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?(/${SEGMENT})*/[^/#?\\x00-\\x1f\\x7f]*\\.(tar\\.gz|tgz|tar|zip)`,
    form: "https://HOST/PATH.tar.gz (or .tgz, .tar, .zip)",
    example: "https://files.example.com/adapters/qwen-code-lora.tar.gz",
    description:
      "One archive with the adapter's files, at its top or in one folder. No query: the URL is shown in places where a signature in it would be read.",
  },
  {
    kind: "path",
    prefixes: ["/"],
    pattern: "/[^/#\\x00-\\x1f\\x7f][^#\\x00-\\x1f\\x7f]*",
    form: "/ABSOLUTE/PATH",
    example: "/models/yard1/llama-2-7b-sql-lora-test",
    description: "A folder that is mounted into the pod, shared storage for example. It is read in place, never copied or deleted.",
  },
];

/** Longest artifactURL that is accepted, in characters (code points, as the API server counts them); it bounds the cost of the rules. */
export const ARTIFACT_URL_MAX_LENGTH = 1024;

/** What to write where an artifactURL is refused. */
export const ARTIFACT_URL_HINT: string = `write ${ARTIFACT_SCHEMES.map((s) => s.form).join(", ")}; ${inWords(
  ARTIFACT_SCHEMES.flatMap((s) => s.prefixes.slice(1)),
)} are taken, too`;

function inWords(names: readonly string[]): string {
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** A user name, with or without a password, in an `http(s)://` URL. */
export const USER_INFO_PATTERN = "^https?://[^/?#]*@";
export const USER_INFO_HINT =
  "artifactURL holds a user name or a password, which everybody could read: write http_username and http_password, or http_bearer_token, into a Secret and name it in credentialsSecretRef";

/** An artifactURL that cannot be loaded; the message says what to write instead. */
export class ArtifactUrlError extends Error {
  override readonly name = "ArtifactUrlError";
}

/** The whole pattern of a kind of artifactURL, pin and anchors included. */
export function wholePattern(scheme: ArtifactScheme): string {
  return `^${scheme.pattern}${PIN_PATTERN}$`;
}

const WHOLE: ReadonlyMap<ArtifactScheme, RegExp> = new Map(ARTIFACT_SCHEMES.map((s) => [s, new RegExp(wholePattern(s))]));

/**
 * Reads an artifactURL.
 *
 * @throws {@link ArtifactUrlError} for anything that {@link ARTIFACT_SCHEMES} does not list.
 */
export function parseArtifactUrl(url: string): ArtifactSource {
  const scheme = ARTIFACT_SCHEMES.find((s) => s.prefixes.some((p) => url.startsWith(p)));
  if (scheme === undefined) throw new ArtifactUrlError(`artifactURL "${shown(url)}" is of no known kind: ${ARTIFACT_URL_HINT}`);
  if (isTooLong(url)) throw new ArtifactUrlError(`artifactURL is longer than ${ARTIFACT_URL_MAX_LENGTH} characters`);
  if (new RegExp(USER_INFO_PATTERN).test(url)) throw new ArtifactUrlError(USER_INFO_HINT);
  if (WHOLE.get(scheme)?.test(url) !== true || hasDotSegment(url) || !url.isWellFormed())
    throw new ArtifactUrlError(
      `artifactURL "${shown(url)}" is not of the form ${scheme.form}, with or without ${PIN_FORM} at its end: write for example ${scheme.example}`,
    );
  const [location = "", pin] = url.split("#sha256=");
  const source = readSource(scheme, location);
  return pin === undefined ? source : { ...source, sha256: pin };
}

function isTooLong(url: string): boolean {
  // A code point is one or two of the units that `length` counts.
  return url.length > 2 * ARTIFACT_URL_MAX_LENGTH || Array.from(url).length > ARTIFACT_URL_MAX_LENGTH;
}

function readSource({ kind, prefixes, form, example }: ArtifactScheme, url: string): ArtifactSource {
  const rest = trimmed(url.slice(prefixes.find((p) => url.startsWith(p))?.length ?? 0));
  const slash = rest.indexOf("/");
  switch (kind) {
    case "huggingface": {
      const [org = "", name = "", ...folders] = rest.split("/");
      const [repo = "", revision] = name.split("@");
      return { kind, repo: `${org}/${repo}`, revision, path: folders.join("/") };
    }
    case "s3":
    case "gs":
      return { kind, bucket: rest.slice(0, slash), prefix: rest.slice(slash + 1) };
    case "http": {
      // Some hosts pass the pattern and are no addresses, 1.2.3.4.5 for example.
      if (!URL.canParse(url)) throw new ArtifactUrlError(`artifactURL is not of the form ${form}: write for example ${example}`);
      return { kind, url, archive: archiveKind(url) };
    }
    case "path":
      return { kind, path: trimmed(url) };
  }
}

function archiveKind(url: string): ArchiveKind {
  if (url.endsWith(".zip")) return "zip";
  return url.endsWith(".tar") ? "tar" : "tar.gz";
}

function trimmed(text: string): string {
  return text.replace(/\/+$/, "");
}

/** `.` and `..` between slashes: an artifactURL never walks up. */
export const DOT_SEGMENT_PATTERN = "(^|/)\\.\\.?(/|#|$)";

function hasDotSegment(url: string): boolean {
  return new RegExp(DOT_SEGMENT_PATTERN).test(url);
}

/** A URL as it may be shown: without a password somebody wrote into it, and not endless. */
function shown(url: string): string {
  return url.replace(/(:\/\/)[^/@]*@/, "$1***@").slice(0, 200);
}

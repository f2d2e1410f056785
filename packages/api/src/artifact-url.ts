/** Where an adapter's files come from. */
export type ArtifactSource =
  | { readonly kind: "huggingface"; readonly repo: string; readonly revision: string | undefined }
  | { readonly kind: "s3"; readonly bucket: string; readonly prefix: string }
  | { readonly kind: "path"; readonly path: string };

/** One row of the table of artifact URLs. The schema's rule, the parser and the reference are made from it. */
export interface ArtifactScheme {
  readonly kind: ArtifactSource["kind"];
  /** What an artifactURL of this kind begins with. */
  readonly prefixes: readonly string[];
  /** The whole form, as an RE2 regular expression (CEL's `matches`) that JavaScript reads the same way. */
  readonly pattern: string;
  readonly form: string;
  readonly example: string;
  readonly description: string;
}

/**
 * Every kind of artifactURL that can be loaded. A kind is listed once it works: what is not here is refused when it is applied.
 *
 * Names of Hub organisations and repositories: letters, digits, `-`, `_`, `.` (huggingface_hub `validate_repo_id`); bucket names: 3 to 63
 * of lower-case letters, digits, `.` and `-` (Amazon S3, "Bucket naming rules").
 */
export const ARTIFACT_SCHEMES: readonly ArtifactScheme[] = [
  {
    kind: "huggingface",
    prefixes: ["huggingface://", "hf://"],
    pattern: "^(huggingface|hf)://[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*(@[-A-Za-z0-9_.]+)?$",
    form: "huggingface://ORG/REPO[@REVISION]",
    example: "huggingface://ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora",
    description:
      "A repository on the Hugging Face Hub, or on the server that `HF_ENDPOINT` names. A revision is a branch, a tag or a commit.",
  },
  {
    kind: "s3",
    prefixes: ["s3://"],
    pattern: "^s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]/[^#?]+$",
    form: "s3://BUCKET/PREFIX",
    example: "s3://models/adapters/qwen-code-lora",
    description:
      "Every object under a prefix of a bucket in S3 compatible storage. The prefix counts as a folder, with or without a final slash.",
  },
  {
    kind: "path",
    prefixes: ["/"],
    pattern: "^/[^/].*$",
    form: "/ABSOLUTE/PATH",
    example: "/models/yard1/llama-2-7b-sql-lora-test",
    description: "A folder that is mounted into the pod, shared storage for example. It is read in place, never copied or deleted.",
  },
];

/** Longest artifactURL that is accepted, in characters; it bounds the cost of the rules. */
export const ARTIFACT_URL_MAX_LENGTH = 1024;

/** What to write where an artifactURL is refused. */
export const ARTIFACT_URL_HINT: string = `write ${ARTIFACT_SCHEMES.map((s) => s.form).join(", ")}`;

/** An artifactURL that cannot be loaded; the message says what to write instead. */
export class ArtifactUrlError extends Error {
  override readonly name = "ArtifactUrlError";
}

/**
 * Reads an artifactURL.
 *
 * @throws {@link ArtifactUrlError} for anything that {@link ARTIFACT_SCHEMES} does not list.
 */
export function parseArtifactUrl(url: string): ArtifactSource {
  const scheme = ARTIFACT_SCHEMES.find((s) => s.prefixes.some((p) => url.startsWith(p)));
  if (scheme === undefined) throw new ArtifactUrlError(`artifactURL "${shown(url)}" is of no known kind: ${ARTIFACT_URL_HINT}`);
  if (url.length > ARTIFACT_URL_MAX_LENGTH) throw new ArtifactUrlError(`artifactURL is longer than ${ARTIFACT_URL_MAX_LENGTH} characters`);
  if (!new RegExp(scheme.pattern).test(url) || hasDotSegment(url))
    throw new ArtifactUrlError(`artifactURL "${shown(url)}" is not of the form ${scheme.form}: write for example ${scheme.example}`);
  const rest = url.slice(scheme.prefixes.find((p) => url.startsWith(p))?.length ?? 0);
  switch (scheme.kind) {
    case "huggingface": {
      const [repo = "", revision] = rest.split("@");
      return { kind: "huggingface", repo, revision };
    }
    case "s3": {
      const slash = rest.indexOf("/");
      return { kind: "s3", bucket: rest.slice(0, slash), prefix: rest.slice(slash + 1).replace(/\/+$/, "") };
    }
    case "path":
      return { kind: "path", path: url.replace(/\/+$/, "") };
  }
}

/** `.` and `..` between slashes: an artifactURL never walks up. */
export const DOT_SEGMENT_PATTERN = "(^|/)\\.\\.?(/|$)";

function hasDotSegment(url: string): boolean {
  return new RegExp(DOT_SEGMENT_PATTERN).test(url);
}

/** A URL as it may be shown: without a password somebody wrote into it, and not endless. */
function shown(url: string): string {
  return url.replace(/(:\/\/)[^/@]*@/, "$1***@").slice(0, 200);
}

import { createHash } from "node:crypto";
import type { ArtifactSource } from "@aibrix/api";
import type { Credentials, RemoteFile } from "./sources/source.ts";

/** Who answers for the ids of a source: two servers may have one name for two things, and one of them may be anybody's. */
export function place({ kind }: ArtifactSource, credentials: Credentials, env: NodeJS.ProcessEnv): string {
  const places: Partial<Record<ArtifactSource["kind"], string | undefined>> = {
    huggingface: env.HF_ENDPOINT,
    gs: env.STORAGE_EMULATOR_HOST,
    s3: credentials.aws_endpoint_url ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL,
  };
  return places[kind] ?? "";
}

/** Stands for a content by itself, whatever its source says now: no listing comes to this. */
export function contentFingerprint(digest: string): string {
  return createHash("sha256").update(`content ${digest}`).digest("hex");
}

/** What the source says of the files, as one hash: names, sizes, and ids of the contents. A source without ids never counts as unchanged. */
export function sourceFingerprint(files: readonly RemoteFile[], from = ""): string {
  const lines = files.map((f) => JSON.stringify([f.name, f.sizeBytes, f.sha256 ?? "", f.etag || crypto.randomUUID()])).sort();
  if (from !== "") lines.unshift(from);
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

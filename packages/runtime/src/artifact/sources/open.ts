import type { ArtifactSource } from "@aibrix/api";
import type { Egress } from "../../egress/egress.ts";
import type { Secret } from "./credentials.ts";
import { HttpSource } from "./http.ts";
import { HuggingFaceSource } from "./huggingface.ts";
import type { Source } from "./source.ts";

/** What sources share. */
export interface SourceDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly egress: Egress;
  /** List what is in folders, too: a whole model has some. */
  readonly nested?: boolean;
}

/**
 * Opens the source that an artifactURL names; every kind but a path, which is read in place. The caller closes it.
 *
 * @throws AdapterError where the credentials cannot be used
 */
export async function openSource(
  artifact: Exclude<ArtifactSource, { kind: "path" }>,
  secret: Secret,
  { env, egress, nested = false }: SourceDeps,
): Promise<Source> {
  switch (artifact.kind) {
    case "huggingface":
      return new HuggingFaceSource(artifact, secret, env, egress, nested);
    case "http":
      return new HttpSource(artifact, secret, egress);
    // These clients are large: only who uses such storage waits for its client.
    case "s3": {
      const { S3Source } = await import("./s3.ts");
      return new S3Source(artifact, secret, env, egress, nested);
    }
    case "gs": {
      const { GcsSource } = await import("./gcs.ts");
      return new GcsSource(artifact, secret, env, nested);
    }
  }
}

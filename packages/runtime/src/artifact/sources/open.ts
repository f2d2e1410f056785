import type { ArtifactSource } from "@aibrix/api";
import type { Agent } from "undici";
import { HuggingFaceSource } from "./huggingface.ts";
import type { Credentials, Source } from "./source.ts";

/** What sources share. */
export interface SourceDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly hubAgent: Agent;
}

/**
 * Opens the source that an artifactURL names; every kind but a path, which is read in place. The caller closes it.
 *
 * @throws AdapterError where the credentials cannot be used
 */
export async function openSource(
  artifact: Exclude<ArtifactSource, { kind: "path" }>,
  credentials: Credentials,
  { env, hubAgent }: SourceDeps,
): Promise<Source> {
  switch (artifact.kind) {
    case "huggingface":
      return new HuggingFaceSource(artifact, credentials, env, hubAgent);
    case "s3": {
      // The SDK takes a quarter of the start-up time: only who uses S3 waits for it.
      const { S3Source } = await import("./s3.ts");
      return new S3Source(artifact, credentials, env);
    }
  }
}

import { ANNOTATION_ARTIFACT_SHA256, ArtifactUrlError, pinnedArtifactUrl } from "@aibrix/api";
import type { ModelAdapterObject } from "./types.ts";

/** Where an adapter says that its files are, with the pin of its annotation; or what is wrong with the two. */
export function declaredUrl({ metadata, spec }: Pick<ModelAdapterObject, "metadata" | "spec">): string | ArtifactUrlError {
  try {
    return pinnedArtifactUrl(spec.artifactURL, metadata.annotations?.[ANNOTATION_ARTIFACT_SHA256]);
  } catch (error) {
    if (error instanceof ArtifactUrlError) return error;
    throw error;
  }
}

/** Whether what a sidecar was told is what the adapter declares now. */
export function isDeclared(adapter: ModelAdapterObject | undefined, artifactUrl: string | undefined): boolean {
  return adapter !== undefined && artifactUrl === declaredUrl(adapter);
}

import { ARTIFACT_URL_MAX_LENGTH, ArtifactUrlError, PIN_FORM } from "./artifact-url.ts";
import { ANNOTATION_ARTIFACT_SHA256 } from "./labels.ts";

const FRAGMENT = "#sha256=";

/**
 * The artifactURL of a ModelAdapter with the pin that its annotation gives, as if it had been written at the URL's end.
 *
 * @param annotation - value of {@link ANNOTATION_ARTIFACT_SHA256}; `sha256:` in front is as good, for statuses show digests so
 * @throws {@link ArtifactUrlError} for a value that is no digest, and where the URL has another pin
 */
export function pinnedArtifactUrl(url: string, annotation: string | undefined): string {
  if (annotation === undefined) return url;
  const pin = /^(?:sha256:)?([0-9a-f]{64})$/.exec(annotation)?.[1];
  if (pin === undefined)
    throw new ArtifactUrlError(
      `the annotation ${ANNOTATION_ARTIFACT_SHA256} is no digest: write the 64 hex digits of the content's sha256, in lower case`,
    );
  const at = url.indexOf(FRAGMENT);
  const pinned = at < 0 ? `${url}${FRAGMENT}${pin}` : url;
  if (at >= 0 && url.slice(at + FRAGMENT.length) !== pin)
    throw new ArtifactUrlError(
      `the annotation ${ANNOTATION_ARTIFACT_SHA256} and the ${PIN_FORM} of artifactURL name two digests: keep the one that you mean`,
    );
  if (Array.from(pinned).length > ARTIFACT_URL_MAX_LENGTH)
    throw new ArtifactUrlError(
      `artifactURL is longer than ${ARTIFACT_URL_MAX_LENGTH} characters with the pin of the annotation ${ANNOTATION_ARTIFACT_SHA256}: shorten it`,
    );
  return pinned;
}

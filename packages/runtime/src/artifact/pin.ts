import { ANNOTATION_REFRESH, type ContentRef } from "@aibrix/api";
import { AdapterError } from "../errors.ts";
import { isFilesRevision } from "./revision.ts";

/**
 * Compares what is here with the pin of its URL.
 *
 * @param digests - of the content; of the archive that it came in
 * @throws AdapterError `ArtifactInvalid`, for good: other content than was asked for is never a passing trouble
 */
export function checkPin(url: string, pin: string | undefined, digests: readonly string[]): void {
  if (pin === undefined || digests.includes(`sha256:${pin}`)) return;
  const [content = "", archive] = digests;
  const found = archive === undefined ? content : `${content}, its archive ${archive}`;
  throw new AdapterError(
    "ArtifactInvalid",
    `${url} is pinned to other content: what is there has the digest ${found}. Find out who changed it, or write the digest that you expect after #sha256=`,
    { retryable: false },
  );
}

/**
 * Compares what is here with the content that was decided on for a moving reference.
 *
 * @throws AdapterError `ArtifactChanged`, for good: only another decision helps
 */
export function checkDecided(url: string, decided: ContentRef | undefined, digest: string): void {
  if (decided === undefined || decided.digest === digest) return;
  const versions = isFilesRevision(decided.revision)
    ? ", of which its bucket gave no former version (it has to keep them, and these credentials to list and read them)"
    : "";
  throw new AdapterError(
    "ArtifactChanged",
    `${url} has other content by now (${digest}) than the one that was decided on (${decided.digest})${versions}: set the annotation ${ANNOTATION_REFRESH} of the ModelAdapter to a new value to serve what is there now, or put the files back`,
    { retryable: false },
  );
}

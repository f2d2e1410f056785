import { AdapterError } from "../errors.ts";

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

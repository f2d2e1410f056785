import { hostMatches, SECRET_KEYS } from "@aibrix/api";
import { AdapterError } from "../../errors.ts";
import type { Credentials } from "./source.ts";

/** Credentials of one adapter, and where they may go. */
export interface Secret {
  readonly keys: Credentials;
  /** Hosts that the Secret's annotation names; where there is none, the endpoints of its own kind of storage are meant. */
  readonly hosts?: readonly string[] | undefined;
}

/**
 * Sees that credentials of a Secret may be sent to where a request goes.
 *
 * @param ownEndpoint - whether this is an endpoint of the credentials' own kind of storage
 * @throws AdapterError `ArtifactNotAllowed`
 */
export function checkRecipient({ hosts }: Secret, url: URL, ownEndpoint: boolean): void {
  if (hosts === undefined ? ownEndpoint : hosts.some((h) => hostMatches(h, url))) return;
  throw new AdapterError(
    "ArtifactNotAllowed",
    hosts === undefined
      ? `the Secret does not say that ${url.host} may get its credentials: annotate it with model.aibrix.ai/allowed-hosts: ${url.hostname}`
      : `the Secret's annotation model.aibrix.ai/allowed-hosts (${hosts.join(", ") || "empty"}) does not name ${url.host}: add it there, or correct the URL`,
  );
}

/** Credentials under the names that are documented; in upper case, as environment variables have them, they count too. */
export function knownKeys(data: Credentials): Credentials {
  return Object.fromEntries(
    Object.values(SECRET_KEYS).flatMap((key) => {
      const value = data[key] ?? data[key.toUpperCase()];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

import { ArtifactUrlError, parseArtifactUrl } from "@aibrix/api";
import type { Content, Served, Update } from "../contents.ts";
import { namesSameCredentials } from "./secrets.ts";

/** Of no particular content. */
export const NOTHING: Content = { url: "/", refresh: undefined, digest: undefined, revision: undefined };

/** Whether two contents are asked for by the same words, with the same secrets. */
export function isSame(a: Content, b: Content): boolean {
  return isSameReference(a, b) && a.secrets === b.secrets;
}

/** The same, whatever secrets they are had with. */
export function isSameReference(a: Content, b: Content): boolean {
  return String(a.url) === String(b.url) && a.refresh === b.refresh;
}

/** Files that are read in place are of nobody's making here: another pod may have others there, and somebody may change them. */
export function pinnable(url: Content["url"]): boolean {
  return typeof url === "string" && !url.startsWith("/");
}

/** The artifact URL that an engine without sidecar was given, by the root that it names. */
export function urlOfRoot(root: string | undefined): string | undefined {
  return root === undefined || root.startsWith("/") ? root : `huggingface://${root}`;
}

/** Whether a URL leads to one content for ever: pods need not wait for the first of them. */
export function isExact({ url, digest }: Content): boolean {
  if (digest !== undefined || url instanceof ArtifactUrlError) return true;
  const source = parseArtifactUrl(url);
  return (
    source.sha256 !== undefined || source.kind === "path" || (source.kind === "huggingface" && /^[0-9a-f]{40}$/.test(source.revision ?? ""))
  );
}

/** The field of a content's secrets, where there are any. */
export function withSecrets(secrets: string | undefined): { readonly secrets?: string } {
  return secrets === undefined ? {} : { secrets };
}

/** Whether a content is what is served, with other secrets. */
export function isProof(content: Content, served: Served): boolean {
  return isSameReference(content, served) && content.secrets !== served.secrets;
}

/**
 * Whether pods are given a content that they lack. What is served, asked for with other secrets or in other words, is none, and nothing that an
 * engine could end of.
 */
export function isGiven(update: Update | undefined, served: Served | undefined): update is Update {
  if (update?.state !== "Swapping" || update.content.isCheck === true) return false;
  return update.content.digest === undefined || update.content.digest !== served?.digest;
}

/** Whether a reference is resolved anew for its secrets: those of another Secret may lead elsewhere, and what is new in the same one does not. */
export function looksAnew({ url, secrets }: Content, served: Served): boolean {
  return pinnable(url) && !namesSameCredentials({ secrets }, served);
}

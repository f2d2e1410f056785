import { ArtifactUrlError, parseArtifactUrl } from "@aibrix/api";
import type { Content } from "../contents.ts";

/** Of no particular content. */
export const NOTHING: Content = { url: "/", refresh: undefined, digest: undefined, revision: undefined };

/** Whether two contents are asked for by the same words. */
export function isSame(a: Content, b: Content): boolean {
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

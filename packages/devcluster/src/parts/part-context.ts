/** What every part needs to be found or built. */
export interface PartContext {
  /** Folder of what was fetched and built; {@link cacheRoot} by default. */
  readonly cacheDir?: string;
  /** Takes progress lines for people. */
  readonly log: (line: string) => void;
  /** Ends the search or the build. */
  readonly signal: AbortSignal;
}

/** A part cannot be had on this machine; the message names the cause and what to install or set. */
export class PartError extends Error {
  override readonly name = "PartError";
}

import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { ask, run } from "./run.ts";

/** A program that `go install` builds by its module's own pins. */
export interface GoProgram {
  /** For messages: `the S3 server versitygw 1.8.0`. */
  readonly what: string;
  /** Import path with its version. */
  readonly pkg: string;
  readonly ldflags: string;
  readonly minGo: string;
  /** Another way to have the program, as the last sentence of an error. */
  readonly remedy: string;
}

/**
 * Builds a program into a folder.
 * @throws PartError naming what is missing.
 */
export async function installGo({ what, pkg, ldflags, minGo, remedy }: GoProgram, dir: string, context: PartContext): Promise<void> {
  if ((await ask(["go", "version"], context.signal)) === undefined) {
    throw new PartError(
      `${what} is built with Go, and there is no go on PATH. Install Go ${minGo} or newer (Debian: apt install golang-go). ${remedy}`,
    );
  }
  const argv = ["go", "install", `-ldflags=${ldflags}`, pkg] as const;
  try {
    await withProgress(`building ${what}`, context, () => run({ argv, env: { GOBIN: dir, CGO_ENABLED: "0" } }, context.signal));
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    throw new PartError(`cannot build ${what}: ${error.message}\nCheck that Go can reach its module proxy. ${remedy}`);
  }
}

import { rename } from "node:fs/promises";
import { join } from "node:path";
import { type PartContext, PartError } from "./part-context.ts";
import { withProgress } from "./progress.ts";
import { ask, run } from "./run.ts";

/** Programs of one Go module that pins what they are built from. */
export interface GoModule {
  /** For messages: `Kubernetes v1.37.2`. */
  readonly what: string;
  /** Folder with `go.mod` and `go.sum`. */
  readonly dir: string;
  /** Import paths by the programs' names. */
  readonly programs: Readonly<Record<string, string>>;
  readonly ldflags: string;
  /** Another way to have the programs, as the last sentence of an error. */
  readonly remedy: string;
}

/** The first build of Kubernetes compiles some 2,000 packages; slow machines take their time. */
const BUILD_TIMEOUT_MS = 90 * 60_000;

/**
 * Builds the programs into a folder.
 * @throws PartError naming what is missing.
 */
export async function buildGo({ what, dir, programs, ldflags, remedy }: GoModule, target: string, context: PartContext): Promise<void> {
  if ((await ask(["go", "version"], context.signal)) === undefined) {
    throw new PartError(`${what} is built with Go, and there is no go on PATH. Install Go 1.26 or newer. ${remedy}`);
  }
  for (const [program, pkg] of Object.entries(programs)) {
    const draft = join(target, `.${program}`);
    const argv = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", draft, pkg] as const;
    try {
      // "containerd v2.4.2" says it all of its first program.
      const named = what.startsWith(`${program} `) ? what : `${program} for ${what}`;
      await withProgress(`building ${named}`, context, () =>
        run({ argv, cwd: dir, env: { CGO_ENABLED: "0", GOFLAGS: "-mod=readonly" }, timeoutMs: BUILD_TIMEOUT_MS }, context.signal),
      );
    } catch (error) {
      if (!(error instanceof PartError)) throw error;
      throw new PartError(
        `cannot build ${program}: ${error.message}\nCheck that Go can reach its module proxy and that 15 GB of disk are free. ${remedy}`,
      );
    }
    await rename(draft, join(target, program));
  }
}

import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { findByEnv } from "./find.ts";
import { installGo } from "./go-install.ts";
import type { PartContext } from "./part-context.ts";

const VERSION = "1.56.1";
const REMEDY = "Or set AIBRIX_FAKE_GCS_BIN to a fake-gcs-server of your own.";

/** Where the emulator of Google Cloud Storage is. */
export interface FakeGcsPaths {
  readonly bin: string;
}

/**
 * fake-gcs-server, an emulator of Google Cloud Storage's JSON API: AIBRIX_FAKE_GCS_BIN, else built with Go (some minutes).
 * @throws PartError naming what is missing.
 */
export async function ensureFakeGcs(context: PartContext): Promise<FakeGcsPaths> {
  const chosen = await findByEnv("AIBRIX_FAKE_GCS_BIN");
  if (chosen !== undefined) return { bin: chosen };
  const program = {
    what: `the storage emulator fake-gcs-server ${VERSION}`,
    pkg: `github.com/fsouza/fake-gcs-server@v${VERSION}`,
    ldflags: "-s -w",
    minGo: "1.25",
    remedy: REMEDY,
  };
  const dir = await ensureCached({ name: "fake-gcs-server", version: VERSION, recipe: 1 }, context, (target) =>
    installGo(program, target, context),
  );
  return { bin: join(dir, "fake-gcs-server") };
}

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "rolldown";
import { bundles } from "./rolldown.config.ts";

/** Bundles our programs once from the sources, as the images hold them: each test starts some, and so they start in a third of the time. */
export async function setup(): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-test-programs-"));
  // Some tests run them as another user.
  await chmod(dir, 0o755);
  for (const bundle of bundles("src", dir)) await build({ ...bundle, logLevel: "warn" });
  process.env.AIBRIX_TEST_PROGRAMS = dir;
  return async () => await rm(dir, { recursive: true, force: true });
}

import { join } from "node:path";
import { ensureCached } from "./cache.ts";
import { unpackDebian } from "./debian.ts";
import { findByEnv, findInFolders, findOnPath } from "./find.ts";
import { type PartContext, PartError } from "./part-context.ts";

/** Where the web server is. */
export interface NginxPaths {
  readonly bin: string;
}

/**
 * nginx, for tests of archives: AIBRIX_NGINX_BIN, else the one of this machine, else Debian's, unpacked and not installed.
 * @throws PartError naming what is missing.
 */
export async function ensureNginx(context: PartContext): Promise<NginxPaths> {
  const chosen =
    (await findByEnv("AIBRIX_NGINX_BIN")) ??
    (await findOnPath("nginx")) ??
    (await findInFolders("nginx", ["/usr/sbin", "/usr/local/sbin"]));
  if (chosen !== undefined) return { bin: chosen };
  try {
    const dir = await ensureCached({ name: "nginx", version: "debian", recipe: 1 }, context, (target) =>
      unpackDebian("nginx", target, context),
    );
    return { bin: join(dir, "usr/sbin/nginx") };
  } catch (error) {
    if (!(error instanceof PartError)) throw error;
    throw new PartError(`nginx cannot be had: ${error.message}. Install it, or set AIBRIX_NGINX_BIN to one of your own.`);
  }
}

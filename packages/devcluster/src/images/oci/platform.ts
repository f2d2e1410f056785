import { PartError } from "../../parts/part-context.ts";
import type { IndexEntry } from "./types.ts";

const NODE_TO_OCI: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };

/** This machine's processor as images name it. */
export function machineArchitecture(arch: string = process.arch): string {
  return NODE_TO_OCI[arch] ?? arch;
}

/**
 * The image for Linux on this processor out of an index, which may also list other processors and attestations (of the platform
 * `unknown`). An entry without a platform says nothing against it. Pure.
 * @throws PartError that says what there is, where no entry fits
 */
export function chooseImage(entries: readonly IndexEntry[], architecture: string): IndexEntry {
  const chosen =
    entries.find(({ platform }) => platform?.os === "linux" && platform.architecture === architecture) ??
    entries.find(({ platform }) => platform === undefined);
  if (chosen !== undefined) return chosen;
  const there = entries.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(", ") || "nothing";
  throw new PartError(
    `the image is not there for linux/${architecture} (there is ${there}): DOCKER_DEFAULT_PLATFORM, where it is set, has to name this machine's`,
  );
}

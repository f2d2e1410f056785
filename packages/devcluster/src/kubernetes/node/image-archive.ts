import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../parts/run.ts";

/** An image that holds one static program. */
export interface ProgramImage {
  /** Name with tag. */
  readonly name: string;
  /** The program's file; it lies in the image's root. */
  readonly program: string;
}

/** `tar` that gives the same bytes for the same files. */
const TAR = ["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"] as const;

/** Writes an image as an archive that `ctr images import` reads. */
export async function writeImageArchive({ name, program }: ProgramImage, file: string, signal: AbortSignal): Promise<void> {
  const work = await mkdtemp(`${file}.`);
  try {
    const [root, out] = [join(work, "root"), join(work, "out")];
    const binary = program.split("/").at(-1) ?? "";
    await mkdir(root);
    await mkdir(out);
    await copyFile(program, join(root, binary));
    await run({ argv: [...TAR, "-cf", join(out, "layer.tar"), "-C", root, binary] }, signal);
    const config = {
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Entrypoint: [`/${binary}`], Env: ["PATH=/"], WorkingDir: "/" },
      rootfs: { type: "layers", diff_ids: [`sha256:${await sha256(join(out, "layer.tar"))}`] },
    };
    await writeFile(join(out, "config.json"), JSON.stringify(config));
    await writeFile(join(out, "manifest.json"), JSON.stringify([{ Config: "config.json", RepoTags: [name], Layers: ["layer.tar"] }]));
    await run({ argv: [...TAR, "-cf", join(work, "image.tar"), "-C", out, "manifest.json", "config.json", "layer.tar"] }, signal);
    await rename(join(work, "image.tar"), file);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

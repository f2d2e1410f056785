import { copyFile, mkdir, mkdtemp, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { assembleImage, packLayer } from "../../images/oci/assemble.ts";
import { Layout } from "../../images/oci/layout.ts";
import { run } from "../../parts/run.ts";

/** An image that holds one static program. */
export interface ProgramImage {
  /** Name with tag. */
  readonly name: string;
  /** The program's file; it lies in the image's root. */
  readonly program: string;
}

/** Writes an image as an archive that `ctr images import` reads. */
export async function writeImageArchive({ name, program }: ProgramImage, file: string, signal: AbortSignal): Promise<void> {
  const work = await mkdtemp(`${file}.`);
  try {
    const [root, binary] = [join(work, "root"), program.split("/").at(-1) ?? ""];
    await mkdir(root);
    await copyFile(program, join(root, binary));
    // The same program gives the same image, whenever it was built.
    await utimes(join(root, binary), 0, 0);
    const draft = await Layout.open(join(work, "draft"));
    const layer = await packLayer(draft, { from: root, to: "/", only: [binary] }, signal);
    const image = await assembleImage(draft, binary, [layer], { Entrypoint: [`/${binary}`], Env: ["PATH=/"], WorkingDir: "/" });
    const named = await Layout.open(join(work, "named"));
    await draft.share([{ image, annotations: { "io.containerd.image.name": name } }], named);
    await run({ argv: ["tar", "-cf", join(work, "image.tar"), "-C", named.dir, "."] }, signal);
    await rename(join(work, "image.tar"), file);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

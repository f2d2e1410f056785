import { chmod, cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PartError } from "../parts/part-context.ts";
import { run } from "../parts/run.ts";

/** The user of the images that are put together here; no name of it is needed, but programs ask. */
export const IMAGE_USER = "65532:65532";

/**
 * Copies a program of this machine, and the libraries that it is linked to, into a folder that becomes an image's root.
 * @param to - absolute path of the program in the image
 */
export async function copyProgram(program: string, root: string, to: string, signal: AbortSignal): Promise<void> {
  const target = join(root, to);
  await mkdir(dirname(target), { recursive: true });
  await cp(program, target, { dereference: true });
  await chmod(target, 0o755);
  const missing = (await askLdd(program, signal)).split("\n").filter((line) => line.endsWith("=> not found"));
  if (missing.length > 0) throw new PartError(`${program} needs libraries that are not on this machine:\n${missing.join("\n")}`);
  await copyLibraries([program], root, signal);
}

/** Copies the libraries that files of this machine are linked to, to the same places under `root`. Those in `except` are elsewhere. */
export async function copyLibraries(files: readonly string[], root: string, signal: AbortSignal, except?: string): Promise<void> {
  const libraries = new Set<string>();
  for (const file of files) for (const library of parseLdd(await askLdd(file, signal))) libraries.add(library);
  for (const library of libraries) {
    if (except !== undefined && library.startsWith(`${except}/`)) continue;
    await mkdir(dirname(join(root, library)), { recursive: true });
    await cp(library, join(root, library), { dereference: true });
  }
}

async function askLdd(file: string, signal: AbortSignal): Promise<string> {
  try {
    return await run({ argv: ["ldd", file], env: { LC_ALL: "C" }, timeoutMs: 60_000 }, signal);
  } catch (error) {
    // A program without libraries is a program too.
    if (error instanceof PartError && error.message.includes("not a dynamic executable")) return "";
    throw error;
  }
}

/** The paths in the output of ldd, whose lines read `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)` or `/lib64/ld.so (0x00007f)`. */
export function parseLdd(output: string): readonly string[] {
  return output.split("\n").flatMap((line) => /^\s*(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** What programs expect of any root: a place for temporary files, names of users, where host names are looked up. */
export async function writeRootFiles(root: string): Promise<void> {
  await mkdir(join(root, "tmp"), { recursive: true });
  await chmod(join(root, "tmp"), 0o1777);
  await mkdir(join(root, "etc"), { recursive: true });
  await writeFile(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
  await writeFile(join(root, "etc/group"), "root:x:0:\nnonroot:x:65532:\n");
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n");
}

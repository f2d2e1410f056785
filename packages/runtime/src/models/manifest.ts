import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";

/** In a model's folder once it is whole. Engines ignore it. */
export const MODEL_MANIFEST = ".aibrix-model.json";

const ManifestSchema = Type.Object({
  version: Type.Literal(1),
  model_uri: Type.String(),
  resolved_revision: Type.Optional(Type.String()),
  /** Hash over what the source said of the files. */
  source_fingerprint: Type.String(),
  /** Only files with these endings were wanted; all where it is empty. */
  allow_file_suffix: Type.Array(Type.String()),
  /** `sha256:` over names and hashes of the files. */
  content_digest: Type.String(),
  completed_at: Type.String(),
  files: Type.Array(Type.Object({ name: Type.String(), size_bytes: Type.Integer(), sha256: Type.String() })),
});

/** What is in a model's folder, written before the folder gets its name. */
export type ModelManifest = Static<typeof ManifestSchema>;

/** The manifest of a folder, or `undefined` where none is there that can be read. */
export async function readModelManifest(dir: string): Promise<ModelManifest | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(dir, MODEL_MANIFEST), "utf8"));
    return Value.Check(ManifestSchema, manifest) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

/** The first file of a manifest that is not there as it was written, or `undefined` where the model is whole. By size: hashing a model takes minutes. */
export async function missingFile(dir: string, { files }: ModelManifest): Promise<string | undefined> {
  for (const { name, size_bytes: size } of files) {
    const info = await stat(join(dir, name)).catch(() => undefined);
    if (info?.isFile() !== true || info.size !== size) return name;
  }
  return undefined;
}

/** What a model takes, in bytes. */
export function modelBytes({ files }: ModelManifest): number {
  return files.reduce((sum, f) => sum + f.size_bytes, 0);
}

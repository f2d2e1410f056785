import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { ROOT } from "./cli.ts";

/** The tiny base model's name, as the stack's engines serve it. */
export const BASE_MODEL = "qwen-coder-1-5b-instruct";

/** A ModelAdapter manifest. */
export function manifest(name: string, artifactURL: string, spec: Readonly<Record<string, unknown>> = {}): string {
  return stringify({
    apiVersion: "model.aibrix.ai/v1alpha1",
    kind: "ModelAdapter",
    metadata: { name, namespace: "default", labels: { "model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000" } },
    spec: { baseModel: BASE_MODEL, podSelector: { matchLabels: { "model.aibrix.ai/name": BASE_MODEL } }, artifactURL, ...spec },
  });
}

/** Puts a file into a folder in one step, as `mv` does. */
export function dropManifest(folder: string, file: string, text: string): void {
  const draft = `${folder}.${file}.draft`;
  writeFileSync(draft, text);
  renameSync(draft, join(folder, file));
}

/** The objects of a base model's manifest in the repository, with flags more for its engine. */
export function withFlags(file: string, ...flags: readonly string[]): readonly unknown[] {
  return parseAllDocuments(readFileSync(join(ROOT, file), "utf8")).map((document) => {
    const object = document.toJS();
    object.spec.template?.spec.containers[0].command.push(...flags);
    return object;
  });
}

/** The objects of a base model's manifest in the repository, with another image of its sidecar. */
export function withRuntime(file: string, image: string): readonly unknown[] {
  return parseAllDocuments(readFileSync(join(ROOT, file), "utf8")).map((document) => {
    const object = document.toJS();
    for (const container of object.spec.template?.spec.containers ?? []) if (container.name === "aibrix-runtime") container.image = image;
    return object;
  });
}

import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

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

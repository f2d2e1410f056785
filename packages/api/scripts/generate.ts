// Writes what is generated from the schema, or with --check says which committed file differs.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { modelAdapterCrd, modelAdapterReference, runtimeOpenApi } from "@aibrix/api";
import { stringify } from "yaml";

const { values } = parseArgs({
  options: { check: { type: "boolean" }, root: { type: "string", default: join(import.meta.dirname, "../../..") } },
});
const HEADER = "# Generated from packages/api by `pnpm generate`. Do not edit.\n";

const files: Readonly<Record<string, string>> = {
  "deploy/crd/model.aibrix.ai_modeladapters.yaml": HEADER + stringify(modelAdapterCrd(), { lineWidth: 0, aliasDuplicateObjects: false }),
  "docs/reference/model-adapter.md": modelAdapterReference(),
  "docs/reference/runtime-openapi.yaml": HEADER + stringify(runtimeOpenApi(), { lineWidth: 0, aliasDuplicateObjects: false }),
};

let stale = 0;
for (const [path, text] of Object.entries(files)) {
  const target = join(values.root, path);
  if (values.check === true) {
    if ((await readFile(target, "utf8").catch(() => "")) === text) continue;
    stale++;
    console.error(`${path} differs from what packages/api says: run pnpm generate and commit the result`);
  } else {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text);
    console.log(`wrote ${path}`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;

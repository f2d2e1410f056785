// Writes the configuration of a cluster's own Envoy, or with --check says whether the committed one differs.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { clusterBootstrap } from "@aibrix/devcluster";
import { stringify } from "yaml";

const { values } = parseArgs({
  options: { check: { type: "boolean" }, root: { type: "string", default: join(import.meta.dirname, "../../..") } },
});
const PATH = "deploy/envoy/envoy.yaml";
const HEADER = "# Generated from packages/devcluster/src/envoy by `npm run generate`. Do not edit.\n";

const text = HEADER + stringify(clusterBootstrap(), { lineWidth: 0, aliasDuplicateObjects: false });
const target = join(values.root, PATH);
if (values.check !== true) {
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
  console.log(`wrote ${PATH}`);
} else if ((await readFile(target, "utf8").catch(() => "")) !== text) {
  console.error(`${PATH} differs from what packages/devcluster says: run npm run generate and commit the result`);
  process.exitCode = 1;
}

// A gate is real once it has failed on purpose.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "gates-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function run(command: string, args: string[], options: { cwd?: string; input?: string } = {}) {
  const { status, stdout, stderr } = spawnSync(join(root, "node_modules/.bin", command), args, { cwd: root, encoding: "utf8", ...options });
  return { status, output: stdout + stderr };
}

function tree(name: string, files: Record<string, string>): string {
  const dir = join(scratch, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  writeFileSync(join(dir, "tsconfig.test.json"), "{}");
  return dir;
}

test.each([
  {
    name: "a part that imports another part",
    rule: "gateway-imports",
    files: { "packages/gateway/src/a.ts": 'import "../../runtime/src/index.ts";', "packages/runtime/src/index.ts": "export {};" },
  },
  {
    name: "a gateway that always loads what a cluster needs",
    rule: "gateway-loads-kube-late",
    files: {
      "packages/gateway/src/a.ts": 'import "./kubernetes/source.ts";',
      "packages/gateway/src/kubernetes/source.ts": "export {};",
    },
  },
  {
    name: "a decision that does I/O",
    rule: "plan-is-pure",
    files: { "packages/controller/src/plan.ts": 'import "node:fs";' },
  },
  {
    name: "an inner file of another package",
    rule: "public-entry-only",
    files: { "packages/runtime/src/a.ts": 'import "../../api/src/labels.ts";', "packages/api/src/labels.ts": "export {};" },
  },
  {
    name: "a cycle",
    rule: "no-circular",
    files: { "packages/api/src/a.ts": 'import "./b.ts";', "packages/api/src/b.ts": 'import "./a.ts";' },
  },
])("the boundaries refuse $name", ({ rule, files }) => {
  const { status, output } = run("depcruise", ["--config", join(root, ".dependency-cruiser.mjs"), "packages"], { cwd: tree(rule, files) });
  expect(output).toContain(rule);
  expect(status).not.toBe(0);
});

test("the generated-files check names a file that differs", () => {
  const dir = tree("generated", { "deploy/crd/model.aibrix.ai_modeladapters.yaml": "edited: by hand\n" });
  const { status, stderr } = spawnSync(process.execPath, [join(root, "packages/api/scripts/generate.ts"), "--check", `--root=${dir}`], {
    encoding: "utf8",
  });
  expect(stderr).toContain("deploy/crd/model.aibrix.ai_modeladapters.yaml differs");
  expect(stderr).toContain("pnpm generate");
  expect(status).toBe(1);
});

test("the generated-files check names protocol code that differs", () => {
  const dir = tree("protocol", { "generated/messages.js": "edited by hand\n", "generated/messages.d.ts": "" });
  const script = join(root, "packages/gateway/scripts/generate.ts");
  const { status, stderr } = spawnSync(process.execPath, [script, "--check", `--root=${dir}`], { encoding: "utf8" });
  expect(stderr).toContain("generated/messages.js differs");
  expect(status).toBe(1);
});

test.each([
  { rule: "noDefaultExport", text: "export default 1;\n" },
  {
    rule: "noFloatingPromises",
    text: "async function f(): Promise<void> {\n  await Promise.resolve();\n}\nexport function g(): void {\n  f();\n}\n",
  },
])("the linter refuses what $rule says", ({ rule, text }) => {
  const dir = tree(rule, { "a.ts": text, "package.json": "{}", "biome.json": readFileSync(join(root, "biome.json"), "utf8") });
  const { status, output } = run("biome", ["lint", "--vcs-enabled=false", "."], { cwd: dir });
  expect(output).toContain(rule);
  expect(status).not.toBe(0);
});

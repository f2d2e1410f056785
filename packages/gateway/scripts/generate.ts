// Writes the static code of our subset of Envoy's protocol buffers, or with --check says which committed file differs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const gateway = join(import.meta.dirname, "..");
const { values } = parseArgs({ options: { check: { type: "boolean" }, root: { type: "string", default: gateway } } });
const FLAGS =
  "-t static-module -w esm -r aibrix_gateway --dependency protobufjs/minimal.js --no-create --no-verify --no-convert --no-delimited --no-typeurl --no-service --null-semantics --force-number -p proto";
const PROTOS = ["proto/external_processor.proto", "proto/health.proto"];

function pbjs(...args: readonly string[]): void {
  execFileSync(join(gateway, "node_modules/.bin/pbjs"), [...FLAGS.split(" "), ...args, ...PROTOS], {
    cwd: gateway,
    stdio: ["ignore", "ignore", "inherit"],
  });
}

const scratch = mkdtempSync(join(tmpdir(), "aibrix-proto-"));
try {
  const out = join(scratch, "messages.js");
  pbjs("-o", out, "--dts"); // The types take their comments from the code,
  pbjs("-o", out, "--no-comments"); // which is read by nobody.
  for (const file of ["messages.js", "messages.d.ts"]) {
    const text = readFileSync(join(scratch, file), "utf8");
    const target = join(values.root, "generated", file);
    if (values.check !== true) {
      writeFileSync(target, text);
      console.log(`wrote packages/gateway/generated/${file}`);
    } else if (readFileSync(target, "utf8") !== text) {
      console.error(`packages/gateway/generated/${file} differs from what proto/ says: run pnpm generate and commit the result`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}

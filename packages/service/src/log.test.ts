import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

test("a secret never reaches the log, however deep it stands", () => {
  const script = `
    import { createLogger } from ${JSON.stringify(join(import.meta.dirname, "log.ts"))};
    const log = createLogger("t");
    log.info({ credentials: { huggingface_token: "hf_secret" }, load: { additional_config: { "api-key": "sk-secret" } } }, "loading");
    log.info({ req: { headers: { authorization: "Bearer sk-secret" } } }, "request");
  `;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", script], {
    encoding: "utf8",
    cwd: import.meta.dirname,
  });
  expect(stdout).toContain('"msg":"loading"');
  expect(stdout).toContain('"msg":"request"');
  expect(stdout).not.toContain("secret");
});

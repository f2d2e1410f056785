import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkAdapter } from "./adapter.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "check-"));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

async function check(config: string): Promise<string> {
  await writeFile(join(dir, "adapter_config.json"), config);
  return await checkAdapter(dir, ["adapter_config.json"]).then(
    () => "good",
    (error: Error & { reason?: string }) => `${error.reason}: ${error.message}`,
  );
}

test.each(['{"r": 8, "peft_type": "LORA"}', '{"r": 1}', '{"r": 64, "peft_type": null}'])("takes %s", async (config) => {
  expect(await check(config)).toBe("good");
});

test.each([
  ['{"r": 8', "is not JSON"],
  ["[]", "is not an object"],
  ["null", "is not an object"],
  ["{}", "it is missing"],
  ['{"r": 0}', "it is 0"],
  ['{"r": 2.5}', "it is 2.5"],
  ['{"r": "8"}', 'it is "8"'],
  ['{"r": 8, "peft_type": "IA3"}', 'peft_type "IA3"'],
])("refuses %s", async (config, says) => {
  const answer = await check(config);
  expect(answer).toMatch(/^ArtifactInvalid: adapter_config.json /);
  expect(answer).toContain(says);
});

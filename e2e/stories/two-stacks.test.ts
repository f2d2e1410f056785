// Two people, or two experiments, on one machine: each folder has a stack of its own.
import { describe, expect, test } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { ask, complete } from "../support/client.ts";
import { manifest } from "../support/manifest.ts";
import { addresses } from "../support/processes.ts";
import { startStack } from "../support/stack.ts";

describe.skipIf(ENGINE === "vllm")("two stacks", () => {
  test("run side by side; ending one does nothing to the other", async () => {
    const [one, two] = await Promise.all([
      startStack({ manifests: { "a.yaml": manifest("only-one", "hf://acme/sql-lora") } }),
      startStack({ manifests: { "a.yaml": manifest("only-two", "hf://acme/chat-lora") }, args: ["--engines=2"] }),
    ]);
    await using _one = one;
    await using _two = two;
    expect(new Set([...addresses(one.file), ...addresses(two.file)]).size).toBe(4 + 6);
    expect((await ask(one.gateway, "only-one")).digest).toBe(await one.digest("acme/sql-lora"));
    expect((await ask(two.gateway, "only-two")).digest).toBe(await two.digest("acme/chat-lora"));
    expect((await complete(two.gateway, "only-one")).status).toBe(404);
    expect((await one.stop()).code).toBe(0);
    expect((await complete(two.gateway, "only-two")).status).toBe(200);
  });
});

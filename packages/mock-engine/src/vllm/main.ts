#!/usr/bin/env node
// The `python3` and the `vllm` of an image that stands in for vLLM's: containers that start vLLM's server start this engine.
import { basename } from "node:path";
import { vllmCommand } from "./command.ts";

const [node = "", self = "", ...argv] = process.argv;
const command = vllmCommand(basename(self), argv);
if (command.kind === "error") {
  process.stderr.write(`${basename(self)}: ${command.message}\n`);
  process.exit(2);
}
process.argv = [node, self, ...command.args];
// The same process: signals reach the engine.
await import("../main.ts");

import { expect, test } from "vitest";
import { vllmCommand } from "./command.ts";

const SERVER = "-m vllm.entrypoints.openai.api_server";

test.each([
  { name: "the module", program: "python3", argv: `${SERVER} --port 8000 --enable-lora`, want: "--port 8000 --enable-lora" },
  { name: "the module, without arguments", program: "python3", argv: SERVER, want: "" },
  { name: "the module, with Python's own flags", program: "python3", argv: `-u ${SERVER} -m x`, want: "-m x" },
  { name: "vllm serve", program: "vllm", argv: "serve some/model --port 1", want: "some/model --port 1" },
])("$name starts the engine", ({ program, argv, want }) => {
  expect(vllmCommand(program, argv.split(" "))).toEqual({ kind: "engine", args: want === "" ? [] : want.split(" ") });
});

test.each([
  { program: "python3", argv: ["-c", "print(1)"] },
  { program: "python3", argv: ["-m", "pip"] },
  { program: "python3", argv: [] },
  { program: "python3", argv: ["-u"] },
  { program: "vllm", argv: ["bench"] },
  { program: "vllm", argv: [] },
])("$program $argv is refused, with what works instead", ({ program, argv }) => {
  const command = vllmCommand(program, argv);
  expect(command).toMatchObject({ kind: "error", message: expect.stringContaining(program === "vllm" ? "vllm serve" : SERVER) });
});

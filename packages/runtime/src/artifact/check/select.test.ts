import { expect, test } from "vitest";
import { selectFiles } from "./select.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const files = (...names: string[]) => names.map((name) => ({ name, sizeBytes: 10, etag: "" }));
const chosen = (...names: string[]) => selectFiles(files(...names), "hf://a/b").map((f) => f.name);

test.each([
  { name: "what an adapter needs", given: [CONFIG, WEIGHTS], want: [CONFIG, WEIGHTS] },
  {
    name: "tokenizer files",
    given: [CONFIG, WEIGHTS, "tokenizer.json", "tokenizer.model", "merges.txt", "chat_template.jinja"],
    want: [CONFIG, WEIGHTS, "tokenizer.json", "tokenizer.model", "merges.txt", "chat_template.jinja"],
  },
  {
    name: "further weights",
    given: [CONFIG, WEIGHTS, "new_embeddings.safetensors"],
    want: [CONFIG, WEIGHTS, "new_embeddings.safetensors"],
  },
  {
    name: "nothing else",
    given: [
      CONFIG,
      WEIGHTS,
      "README.md",
      "optimizer.pt",
      "adapter_model.bin",
      "training.log",
      "model.safetensors",
      "model-00001-of-00002.safetensors",
      "pytorch_model.safetensors",
    ],
    want: [CONFIG, WEIGHTS],
  },
  {
    name: "no hidden or strange names",
    given: [CONFIG, WEIGHTS, ".aibrix-manifest.json", "..", "a/../b.json", "a\\b.json"],
    want: [CONFIG, WEIGHTS],
  },
])("takes $name", ({ given, want }) => {
  expect(chosen(...given)).toEqual(want);
});

test("leaves out a text file that is too large to be one", () => {
  const large = { name: "dump.json", sizeBytes: 2 ** 30, etag: "" };
  expect(selectFiles([...files(CONFIG, WEIGHTS), large], "x").map((f) => f.name)).toEqual([CONFIG, WEIGHTS]);
});

test.each([
  { name: "nothing", given: [], says: "there are no files" },
  {
    name: "a whole model",
    given: ["config.json", "model.safetensors"],
    says: "adapter_config.json is missing (found config.json, model.safetensors)",
  },
  { name: "pickled weights only", given: [CONFIG, "adapter_model.bin"], says: "Python pickle (adapter_model.bin)" },
  { name: "no weights", given: [CONFIG, "README.md"], says: "adapter_model.safetensors is missing" },
])("refuses $name", ({ given, says }) => {
  expect(() => chosen(...given)).toThrow(says);
});

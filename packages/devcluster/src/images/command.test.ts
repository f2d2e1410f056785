import { expect, test } from "vitest";
import { readImagesOptions } from "./command.ts";

const read = (argv: string) => readImagesOptions(argv === "" ? [] : argv.split(" "), "/cwd");

test.each([
  { argv: "", want: ["aibrix/controller-manager:dev", "aibrix/gateway-plugins:dev", "aibrix/runtime:dev", "aibrix/mock-engine:dev"] },
  { argv: "--only runtime --tag v1", want: ["aibrix/runtime:v1"] },
  { argv: "--only envoy --only vllm-mock", want: ["envoyproxy/envoy:v1.40.0", "vllm/vllm-openai:v0.7.1"] },
  {
    argv: "--engine mock",
    want: [
      "aibrix/controller-manager:dev",
      "aibrix/gateway-plugins:dev",
      "aibrix/runtime:v0.2.1",
      "aibrix/runtime:dev",
      "vllm/vllm-openai:v0.7.1",
      "aibrix/dev-services:dev",
      "envoyproxy/envoy:v1.40.0",
      "envoyproxy/gateway:v1.9.1",
      "versity/versitygw:v1.8.0",
    ],
  },
])("$argv builds $want", ({ argv, want }) => {
  expect(read(argv)?.wanted.flatMap(({ references }) => references)).toEqual(want);
});

test.each(["http://127.0.0.1:5000", "http://127.0.0.1:5000/dev/", "registry.example.com/aibrix-dev", "localhost:5000"])(
  "--push %s is a prefix",
  (push) => {
    expect(read(`--push ${push}`)?.registry).toBe(push.replace(/\/$/, ""));
  },
);

test.each([
  { argv: "--push docker://x", says: "--push=docker://x must be such as" },
  { argv: "--push http://me:secret@x", says: "must be such as" },
  { argv: "--only nothing", says: "must be one of controller-manager, " },
  { argv: "--engine mock --only envoy", says: "leave one of them out" },
  { argv: "--engine gpu", says: "--engine=gpu must be" },
  { argv: "--tag a/b", says: "--tag=a/b must be" },
])("$argv is refused", ({ argv, says }) => {
  expect(() => read(argv)).toThrow(says);
});

test("an archive is a path from the user's folder, and --help is no work", () => {
  expect(read("--archive images.tar")?.archive).toBe("/cwd/images.tar");
  expect(read("--help")).toBeUndefined();
});

import { describe, expect, test } from "vitest";
import { parseAnswer, tokenIds, tokenText } from "./text.ts";

function text(model: string, digests: readonly (string | undefined)[]): string {
  return digests.map((digest, i) => tokenText(i, model, digest)).join("");
}

const OLD = "0123456789ab";
const NEW = "ba9876543210";

describe("parseAnswer", () => {
  test.each([
    {
      name: "an adapter's",
      of: text("qwen-code-lora", [OLD, OLD, OLD]),
      want: { model: "qwen-code-lora", digest: OLD, tokens: 3, consistent: true },
    },
    {
      name: "the base model's",
      of: text("base", [undefined, undefined]),
      want: { model: "base", digest: undefined, tokens: 2, consistent: true },
    },
    { name: "a single token", of: text("a", [OLD]), want: { model: "a", digest: OLD, tokens: 1, consistent: true } },
    {
      name: "a strange name",
      of: text("ns/[x] base] a,b", [OLD, OLD]),
      want: { model: "ns/[x] base] a,b", digest: OLD, tokens: 2, consistent: true },
    },
    { name: "mixed weights", of: text("a", ["mixed", "mixed"]), want: { model: "a", digest: "mixed", tokens: 2, consistent: true } },
    {
      name: "weights that changed on the way",
      of: text("a", [OLD, OLD, NEW]),
      want: { model: "a", digest: OLD, tokens: 3, consistent: false },
    },
  ])("$name", ({ of, want }) => {
    expect(parseAnswer(of)).toEqual(want);
  });

  test("a missing token is no consistent text", () => {
    expect(parseAnswer(`${tokenText(0, "a", OLD)}${tokenText(2, "a", OLD)}`)).toMatchObject({ consistent: false });
  });

  test.each(["", "def add(a, b):", "[a base", "[a sha256:0123]", `${text("a", [OLD])} more`])("no answer of this engine: %s", (of) => {
    expect(parseAnswer(of)).toBeUndefined();
  });
});

test("tokens of a text depend on its content and length alone", () => {
  expect(tokenIds("hello world")).toHaveLength(3);
  expect(tokenIds("hello world")).toEqual(tokenIds("hello world"));
  expect(tokenIds("hello world")).not.toEqual(tokenIds("jello world"));
  expect(tokenIds("")).toHaveLength(1);
});

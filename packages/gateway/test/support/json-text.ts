import fc from "fast-check";

const space = fc.stringMatching(/^[ \t\n\r]{0,3}$/);
const characters = fc.oneof(
  fc.string({ unit: "binary", maxLength: 90 }),
  fc.constantFrom("model", '"model"', '{"model":"x"}', "größe-模型", "x".repeat(200), "\\".repeat(9), "\ud800", "\u2028"),
);

/** A string as JSON text, with some characters written as escapes. */
const string = fc.tuple(characters, fc.array(fc.boolean(), { maxLength: 8 })).map(([text, flags]) =>
  flags.reduce((json, flag, i) => {
    if (!flag) return json;
    const at = 1 + i * 3;
    const character = json[at];
    // Only what stands for itself: neither part of an escape nor the closing quote.
    if (character === undefined || at >= json.length - 1 || !/[a-z]/.test(character) || json.includes("\\")) return json;
    return `${json.slice(0, at)}\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}${json.slice(at + 1)}`;
  }, JSON.stringify(text)),
);
/** Keys of which none has an escape. */
const plainKey = fc.constantFrom('"model"', '"Model"', '"model "', '"messages"', '"größe"');
const key = fc.oneof(fc.constantFrom('"model"', '"mod\\u0065l"', '"\\u006Dodel"', '"Model"', '"model "', '"messages"'), string);
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("0", "-0", "1e5", "-1.5E+300", "1E-9", "0.0", "123456789012345678901234567890"),
);
const { value } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    string,
    number,
    fc.constantFrom("true", "false", "null", "{}", "[ ]"),
    tie("object"),
    tie("array"),
  ),
  array: fc.array(fc.tuple(space, tie("value"), space), { maxLength: 4 }).map((items) => `[${items.map((i) => i.join("")).join(",")}]`),
  object: objectOf(key, tie("value")),
}));

function objectOf(keys: fc.Arbitrary<string>, values: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .array(fc.tuple(space, keys, space, space, values, space), { maxLength: 5 })
    .map((entries) => `{${entries.map(([a, k, b, c, v, d]) => `${a}${k}${b}:${c}${v}${d}`).join(",")}}`);
}

/** Any JSON text, most of them objects with keys like `model`, some written with escapes, white space or twice. */
export const jsonText: fc.Arbitrary<string> = fc
  .tuple(space, fc.oneof({ weight: 9, arbitrary: objectOf(key, value) }, { weight: 1, arbitrary: value }), space)
  .map((t) => t.join(""));

/** JSON objects that mostly have a model, and no key with escapes. */
export const jsonWithModel: fc.Arbitrary<string> = fc
  .tuple(objectOf(plainKey, value), fc.constantFrom("m", "größe/模型", "a b%\u007f", "x".repeat(200)), space)
  .map(([object, name, end]) => `${object.slice(0, -1)}${object === "{}" ? "" : ","}"model":${JSON.stringify(name)}}${end}`);

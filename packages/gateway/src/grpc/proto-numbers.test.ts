import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { expect, test } from "vitest";
import official from "../../proto/official-numbers.json" with { type: "json" };

const types: Readonly<Record<string, Readonly<Record<string, string | number>>>> = official.types;
const folder = fileURLToPath(new URL("../../proto/", import.meta.url));
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (target.startsWith(folder) ? target : `${folder}${target}`);
root.loadSync(["external_processor.proto", "health.proto"], { keepCase: true }).resolveAll();

/** The status is an enum there and a number here: the wire is the same. */
const KNOWN_DIFFERENCES = new Map([["envoy.type.v3.HttpStatus.code", "1 int32"]]);

function all(namespace: protobuf.NamespaceBase): (protobuf.Type | protobuf.Enum)[] {
  return namespace.nestedArray.flatMap((nested) => {
    const own = nested instanceof protobuf.Type || nested instanceof protobuf.Enum ? [nested] : [];
    return nested instanceof protobuf.Namespace ? [...own, ...all(nested)] : own;
  });
}

function fieldText(field: protobuf.Field): string {
  if (field instanceof protobuf.MapField) return `${field.id} map`;
  const type = field.resolvedType === null ? field.type : field.resolvedType.fullName.slice(1);
  return `${field.id} ${field.repeated ? "repeated " : ""}${type}`;
}

const ours = all(root).map((type) => ({ name: type.fullName.slice(1), type }));

test.each(ours)("$name has the official field numbers", ({ name, type }) => {
  const want = types[name] ?? {};
  if (type instanceof protobuf.Enum) {
    expect(type.values).toEqual(want);
    return;
  }
  for (const field of type.fieldsArray) {
    const path = `${name}.${field.name}`;
    const difference = KNOWN_DIFFERENCES.get(path);
    if (difference !== undefined) expect(fieldText(field)).toBe(difference);
    else expect({ [path]: fieldText(field) }).toEqual({ [path]: want[field.name] });
  }
});

test("every message of the protocol that is compared is one that the gateway has", () => {
  expect(ours.map((t) => t.name).sort()).toEqual(Object.keys(types).sort());
});

test("the generated code has every message", () => {
  const generated = readFileSync(fileURLToPath(new URL("../../generated/messages.js", import.meta.url)), "utf8");
  for (const { type } of ours) expect(generated).toContain(`.${type.name} = (function()`);
});

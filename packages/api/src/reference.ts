import { ARTIFACT_SCHEMES, PIN_FORM } from "./artifact-url.ts";
import { REASONS } from "./conditions.ts";
import { ANNOTATION_ARTIFACT_SHA256, API_VERSION, KIND } from "./labels.ts";
import { ModelAdapterSpecSchema, ModelAdapterStatusSchema } from "./model-adapter.ts";
import { ROOT_RULES } from "./rules.ts";

interface Node {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly additionalProperties?: Node | boolean;
  readonly "x-kubernetes-validations"?: readonly { readonly message: string }[];
}

/** A schema as this page reads it. */
function node(schema: object): Node {
  return schema as Node;
}

/** The field reference as Markdown, made from the schema. */
export function modelAdapterReference(): string {
  return [
    `# ${KIND}`,
    "",
    `\`apiVersion: ${API_VERSION}\`, \`kind: ${KIND}\`, namespaced; short name \`ma\`, category \`aibrix\`.`,
    "",
    "This page is generated from `packages/api`; change it there and run `pnpm generate`.",
    "",
    "## metadata",
    "",
    ...ROOT_RULES.map((r) => `- ${r.message}.`),
    "",
    "## spec",
    "",
    ...table(node(ModelAdapterSpecSchema), ""),
    "",
    "## artifactURL",
    "",
    "| form | example | what it is |",
    "|---|---|---|",
    ...ARTIFACT_SCHEMES.map((s) => `| \`${s.form}\` | \`${s.example}\` | ${s.description} |`),
    "",
    "`hf://` is the same as `huggingface://`, and `gcs://` the same as `gs://`.",
    "",
    `Each may end in a pin, \`${PIN_FORM}\`: 64 hex digits in lower case. It is the content digest as \`status.pods[].contentDigest\` shows it (without \`sha256:\`), or, for an archive, the archive's own sha256. Content that has another digest is never loaded, and the adapter fails for good with the reason \`ArtifactInvalid\`.`,
    "",
    `The annotation \`${ANNOTATION_ARTIFACT_SHA256}\` of the ModelAdapter says the same without a change of its spec. Where both are there and differ, nothing is loaded, with the reason \`InvalidArtifactURL\`.`,
    "",
    "## What is refused when it is applied",
    "",
    ...refusals(node(ModelAdapterSpecSchema), "spec"),
    "",
    "## status",
    "",
    ...table(node(ModelAdapterStatusSchema), ""),
    "",
    "## Reasons",
    "",
    "| reason | meaning |",
    "|---|---|",
    ...Object.entries(REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`),
    "",
  ].join("\n");
}

function table(schema: Node, prefix: string): string[] {
  return ["| field | type | required | description |", "|---|---|---|---|", ...rows(schema, prefix)];
}

function rows(schema: Node, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, node]) => {
    const path = `${prefix}${name}`;
    const required = schema.required?.includes(name) === true ? "yes" : "";
    const row = `| \`${path}\` | ${typeOf(node)} | ${required} | ${[node.description ?? "", details(node)].filter((s) => s !== "").join(" ")} |`;
    const inner = node.type === "array" ? node.items : node;
    return [row, ...(inner?.properties === undefined ? [] : rows(inner, `${path}${node.type === "array" ? "[]" : ""}.`))];
  });
}

function typeOf(node: Node): string {
  if (node.type === "array") return `list of ${node.items === undefined ? "values" : typeOf(node.items)}`;
  if (node.type === "object" && typeof node.additionalProperties === "object") return "map of string";
  if (node.format === "date-time") return "time";
  return node.type ?? "object";
}

function details(node: Node): string {
  const values = node.enum === undefined ? "" : `One of ${node.enum.map((v) => `\`${v}\``).join(", ")}.`;
  const fallback = node.default === undefined ? "" : `Default \`${String(node.default)}\`.`;
  return [values, fallback].filter((s) => s !== "").join(" ");
}

function refusals(schema: Node, path: string): string[] {
  return [
    ...(schema["x-kubernetes-validations"] ?? []).map((v) => `- \`${path}\`: ${v.message}.`),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => refusals(inner, `${path}.${name}`)),
    ...(schema.items === undefined ? [] : refusals(schema.items, `${path}[]`)),
  ];
}

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

type Json = null | boolean | number | string | readonly Json[] | { readonly [field: string]: Json };
type JsonObject = { readonly [field: string]: Json };

interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** A document of an API server's `/openapi/v3/…`. */
export interface OpenApi {
  readonly components?: { readonly schemas?: Readonly<Record<string, JsonObject>> };
}

/** Where {@link writeSchemas} writes the schema of a kind, as kubeconform's `-schema-location` says it. */
export const SCHEMA_LOCATION = "{{ .Group }}/{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json";

/**
 * Writes a strict JSON schema for every kind of an API server's documents: fields that a schema does not name are refused.
 * @returns the kinds, as `apps/v1 Deployment`
 */
export async function writeSchemas(documents: readonly OpenApi[], dir: string): Promise<readonly string[]> {
  const written: string[] = [];
  for (const { components } of documents) {
    const schemas = components?.schemas ?? {};
    const definitions = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, strict(schema)]));
    for (const [name, schema] of Object.entries(schemas)) {
      const kinds = (schema["x-kubernetes-group-version-kind"] ?? []) as unknown as readonly Kind[];
      // Options and events of watches are listed with every group: they are no objects that somebody applies.
      if (kinds.length !== 1 || !isObject(schema.properties) || schema.properties.metadata === undefined) continue;
      for (const { group, version, kind } of kinds) {
        // kubeconform takes what stands before the slash of an apiVersion for its group, which is the version itself without a slash.
        const file = join(dir, group === "" ? version : group, `${kind.toLowerCase()}_${version}.json`);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, JSON.stringify({ $ref: `#/definitions/${name}`, definitions }));
        written.push(`${group === "" ? version : `${group}/${version}`} ${kind}`);
      }
    }
  }
  return written;
}

/** A schema of OpenAPI 3.0 in JSON schema's words. */
function strict(value: Json): Json {
  if (Array.isArray(value)) return value.map(strict);
  if (!isObject(value)) return value;
  if (value["x-kubernetes-int-or-string"] === true) return { type: ["integer", "string", "null"] };
  const { nullable, ...rest } = value;
  const inner: Record<string, Json> = {};
  for (const [key, v] of Object.entries(rest)) {
    if (key === "$ref" && typeof v === "string") inner.$ref = v.replace("#/components/schemas/", "#/definitions/");
    // Its keys are names of fields, not words of the schema.
    else if (key === "properties" && isObject(v)) inner.properties = Object.fromEntries(Object.entries(v).map(([k, s]) => [k, strict(s)]));
    else if (key === "default" || key === "enum") inner[key] = v;
    else inner[key] = strict(v);
  }
  if (nullable === true && typeof inner.type === "string") inner.type = [inner.type, "null"];
  const closed = inner.properties !== undefined && inner.type !== undefined && inner.additionalProperties === undefined;
  if (closed && value["x-kubernetes-preserve-unknown-fields"] !== true) inner.additionalProperties = false;
  return inner;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

import { Value } from "typebox/value";
import { API_VERSION, KIND } from "./labels.ts";
import { type ModelAdapter, ModelAdapterSchema } from "./model-adapter.ts";
import { ABORT_RULES, ROLLOUT_RULES, STEPS_RULES } from "./rollout-spec.ts";
import { ARTIFACT_URL_RULES, EXPRESSION_RULES, ROOT_RULES, type Rule, SELECTOR_RULES, SPEC_RULES } from "./rules.ts";
import { SMOKE_CHECK_RULES } from "./smoke-checks.ts";

/** A field that cannot work, and what to write instead. */
export interface Problem {
  /** Path of the field, `spec.podSelector` for example; empty for the object itself. */
  readonly field: string;
  readonly message: string;
}

/**
 * Checks an object as the API server would: the schema first, then the rules.
 * Used wherever a ModelAdapter does not come from an API server. Returns the typed object, defaults filled in, or what is wrong with it.
 */
export function validateModelAdapter(
  value: unknown,
): { readonly adapter: ModelAdapter; readonly problems?: undefined } | { readonly problems: readonly Problem[] } {
  const type = typeMeta(value);
  if (type !== undefined) return { problems: [type] };
  const candidate = Value.Default(ModelAdapterSchema, structuredClone(value));
  if (!Value.Check(ModelAdapterSchema, candidate)) return { problems: schemaProblems(candidate) };
  const adapter: ModelAdapter = candidate;
  const { podSelector, artifactURL, rollout } = adapter.spec;
  const { steps, abortOn } = rollout?.canary ?? {};
  const problems = [
    ...broken("metadata.name", ROOT_RULES, adapter),
    ...broken("spec", SPEC_RULES, adapter.spec),
    ...broken("spec.podSelector", SELECTOR_RULES, podSelector),
    ...(podSelector.matchExpressions ?? []).flatMap((e, i) => broken(`spec.podSelector.matchExpressions[${i}]`, EXPRESSION_RULES, e)),
    ...(rollout === undefined ? [] : broken("spec.rollout", ROLLOUT_RULES, rollout)),
    ...(steps === undefined ? [] : broken("spec.rollout.canary.steps", STEPS_RULES, steps)),
    ...(abortOn === undefined ? [] : broken("spec.rollout.canary.abortOn", ABORT_RULES, abortOn)),
    ...(rollout?.checks ?? []).flatMap((c, i) => broken(`spec.rollout.checks[${i}]`, SMOKE_CHECK_RULES, c)),
    ...broken("spec.artifactURL", ARTIFACT_URL_RULES, artifactURL),
  ];
  return problems.length > 0 ? { problems } : { adapter };
}

function typeMeta(value: unknown): Problem | undefined {
  const { apiVersion, kind } = (value ?? {}) as { apiVersion?: unknown; kind?: unknown };
  if (kind !== KIND) return { field: "kind", message: `write kind: ${KIND}` };
  if (apiVersion !== API_VERSION) return { field: "apiVersion", message: `write apiVersion: ${API_VERSION}` };
  return undefined;
}

function broken<T>(field: string, rules: readonly Rule<T>[], value: T): Problem[] {
  return rules.filter((r) => !r.check(value)).map(({ message }) => ({ field, message }));
}

function schemaProblems(value: unknown): Problem[] {
  const seen = new Map<string, Problem>();
  for (const e of Value.Errors(ModelAdapterSchema, value)) {
    const params = e.params as {
      requiredProperties?: readonly string[];
      additionalProperties?: readonly string[];
      allowedValues?: readonly unknown[];
    };
    const path = e.instancePath.slice(1).replaceAll("/", ".");
    const named = (names: readonly string[], message: string) => {
      for (const name of names) {
        const field = path === "" ? name : `${path}.${name}`;
        seen.set(field, { field, message });
      }
    };
    if (e.keyword === "required") named(params.requiredProperties ?? [], "is required");
    else if (e.keyword === "additionalProperties")
      named(params.additionalProperties ?? [], "is not a field of a ModelAdapter: remove it or mend its spelling");
    else if (e.keyword === "enum") seen.set(path, { field: path, message: `must be one of ${(params.allowedValues ?? []).join(", ")}` });
    else if (e.keyword !== "boolean" && !seen.has(path)) seen.set(path, { field: path, message: e.message });
  }
  return [...seen.values()];
}

import {
  ARTIFACT_SCHEMES,
  ARTIFACT_URL_HINT,
  type ArtifactScheme,
  ArtifactUrlError,
  DOT_SEGMENT_PATTERN,
  PIN_FORM,
  parseArtifactUrl,
  USER_INFO_HINT,
  USER_INFO_PATTERN,
  wholePattern,
} from "./artifact-url.ts";
import { CONFIG_API_KEY } from "./labels.ts";

/**
 * A rule beyond the schema, twice: as CEL for the API server and as a function where there is none.
 * `check` gets the value that the rule stands on; it is only called for values that satisfy the schema.
 */
export interface Rule<T> {
  readonly rule: string;
  readonly message: string;
  readonly check: (value: T) => boolean;
}

const NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

export const ROOT_RULES: readonly Rule<{ readonly metadata: { readonly name: string } }>[] = [
  {
    rule: `size(self.metadata.name) <= 63 && self.metadata.name.matches('${NAME_PATTERN}')`,
    message:
      "metadata.name becomes the name of a Service: write at most 63 lower-case letters, digits and '-', beginning with a letter and without dots, for example qwen-code-lora",
    check: (o) => o.metadata.name.length <= 63 && new RegExp(NAME_PATTERN).test(o.metadata.name),
  },
];

interface SelectorLike {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly ExpressionLike[];
}
interface ExpressionLike {
  readonly operator: string;
  readonly values?: readonly string[];
}

export const SELECTOR_RULES: readonly Rule<SelectorLike>[] = [
  {
    rule: "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
    message:
      "podSelector is empty and would match every pod: name the base model's pods, for example matchLabels: {model.aibrix.ai/name: qwen-coder-1-5b-instruct}",
    check: (s) => Object.keys(s.matchLabels ?? {}).length > 0 || (s.matchExpressions ?? []).length > 0,
  },
];

export const EXPRESSION_RULES: readonly Rule<ExpressionLike>[] = [
  {
    rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    message: "In and NotIn need values, Exists and DoesNotExist take none",
    check: (e) => ["In", "NotIn"].includes(e.operator) === (e.values ?? []).length > 0,
  },
];

interface SpecLike {
  readonly replicas?: number;
  readonly additionalConfig?: Readonly<Record<string, string>>;
  readonly apiKeySecretRef?: unknown;
}

export const SPEC_RULES: readonly Rule<SpecLike>[] = [
  {
    rule: "!has(self.replicas) || self.replicas >= 1",
    message:
      "replicas must be 1 or more: leave it out to load the adapter on every matching pod, or delete the ModelAdapter to take the adapter away",
    check: (s) => s.replicas === undefined || s.replicas >= 1,
  },
  {
    rule: `!(has(self.apiKeySecretRef) && has(self.additionalConfig) && '${CONFIG_API_KEY}' in self.additionalConfig)`,
    message: `additionalConfig.${CONFIG_API_KEY} and apiKeySecretRef both give the engine's API key: keep one, best apiKeySecretRef`,
    check: (s) => s.apiKeySecretRef === undefined || s.additionalConfig?.[CONFIG_API_KEY] === undefined,
  },
];

export const ARTIFACT_URL_RULES: readonly Rule<string>[] = [
  {
    rule: ARTIFACT_SCHEMES.flatMap((s) => s.prefixes)
      .map((p) => `self.startsWith('${p}')`)
      .join(" || "),
    message: `artifactURL is of no known kind: ${ARTIFACT_URL_HINT}`,
    check: (url) => ARTIFACT_SCHEMES.some((s) => startsWith(s, url)),
  },
  {
    rule: `!self.matches(${literal(USER_INFO_PATTERN)})`,
    message: USER_INFO_HINT,
    check: (url) => !new RegExp(USER_INFO_PATTERN).test(url),
  },
  ...ARTIFACT_SCHEMES.map((s) => ({
    rule: `!(${s.prefixes.map((p) => `self.startsWith('${p}')`).join(" || ")}) || (self.matches(${literal(wholePattern(s))}) && !self.matches(${literal(DOT_SEGMENT_PATTERN)}))`,
    message: `artifactURL is not of the form ${s.form}, with or without ${PIN_FORM} at its end: write for example ${s.example}`,
    check: (url: string) => !startsWith(s, url) || new RegExp(USER_INFO_PATTERN).test(url) || parses(url),
  })),
];

/** A regular expression as a string of CEL. */
function literal(pattern: string): string {
  return `'${pattern.replaceAll("\\", "\\\\")}'`;
}

function startsWith(scheme: ArtifactScheme, url: string): boolean {
  return scheme.prefixes.some((p) => url.startsWith(p));
}

function parses(url: string): boolean {
  try {
    parseArtifactUrl(url);
    return true;
  } catch (error) {
    if (error instanceof ArtifactUrlError) return false;
    throw error;
  }
}

/** The rules as `x-kubernetes-validations` wants them. */
export function validations<T>(rules: readonly Rule<T>[]): { readonly rule: string; readonly message: string }[] {
  return rules.map(({ rule, message }) => ({ rule, message }));
}

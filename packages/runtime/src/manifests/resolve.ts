import {
  ANNOTATION_ARTIFACT_SHA256,
  ANNOTATION_PROBE,
  ArtifactUrlError,
  CONFIG_API_KEY,
  LABEL_ADAPTER_ENABLED,
  LABEL_MODEL_NAME,
  type LabelSelector,
  type ManifestProblem,
  type ModelAdapter,
  matchesSelector,
  pinnedArtifactUrl,
  SECRET_KEYS,
} from "@aibrix/api";
import type { Declaration, Problem } from "../adapters/declaration.ts";
import type { AdapterEntry, FileContent, SecretEntry } from "./parse.ts";

type Labels = Readonly<Record<string, string>>;

/** What decides, besides the manifests, which adapters this engine gets. */
export interface Surroundings {
  /** Labels given by `--pod-label`. */
  readonly podLabels: Labels;
  /** Names of the engine's base models; empty while they are not known. */
  readonly baseModels: readonly string[];
  /** Why the base models are not known. */
  readonly engineProblem: Problem;
  /** Whether a call to the API owns this name. */
  readonly ownedByApi: (name: string) => boolean;
  /** Key of the manifest that serves under this name now. */
  readonly serving: (name: string) => string | undefined;
  /** Whether this manifest was in force before the runtime started. */
  readonly restored: (entry: AdapterEntry) => boolean;
}

export interface Resolved {
  readonly declarations: ReadonlyMap<string, Declaration>;
  /** Key of the manifest behind each declaration. */
  readonly keys: ReadonlyMap<string, string>;
  readonly problems: readonly ManifestProblem[];
}

/** What the folder declares for this engine. Pure. */
export function resolveManifests(files: readonly FileContent[], around: Surroundings): Resolved {
  const problems = files.flatMap((f) => f.problems);
  const secrets = indexSecrets(files, problems);
  const byName = new Map<string, AdapterEntry[]>();
  for (const entry of files.flatMap((f) => f.adapters)) {
    if (selects(entry.adapter, around) === "no") problems.push(notSelected(entry, around));
    else byName.set(entry.name, [...(byName.get(entry.name) ?? []), entry]);
  }
  const declarations = new Map<string, Declaration>();
  const keys = new Map<string, string>();
  for (const [name, entries] of byName) {
    if (around.ownedByApi(name)) {
      problems.push(...entries.map((e) => nameConflict(e)));
      continue;
    }
    const incumbent = around.serving(name);
    const winner = entries.find((e) => e.key === incumbent) ?? entries[0];
    if (winner === undefined) continue;
    problems.push(...entries.filter((e) => e !== winner).map((e) => duplicate(e, winner)));
    declarations.set(name, declare(winner, secrets, around));
    keys.set(name, winner.key);
  }
  return { declarations, keys, problems };
}

/** Whether an adapter's podSelector matches the pod that we stand for: its labels, and each name of its base model as the label that a pod carries. */
function selects({ spec }: ModelAdapter, { podLabels, baseModels }: Surroundings): "yes" | "no" | "undecided" {
  if (podLabels[LABEL_ADAPTER_ENABLED] === "false") return "no";
  const matches = (labels: Labels) => matchesSelector(spec.podSelector, labels);
  if (podLabels[LABEL_MODEL_NAME] !== undefined) return matches(podLabels) ? "yes" : "no";
  if (baseModels.length > 0) return baseModels.some((name) => matches({ ...podLabels, [LABEL_MODEL_NAME]: name })) ? "yes" : "no";
  const { matchLabels = {}, matchExpressions = [] } = spec.podSelector;
  if (LABEL_MODEL_NAME in matchLabels || matchExpressions.some((e) => e.key === LABEL_MODEL_NAME)) return "undecided";
  return matches(podLabels) ? "yes" : "no";
}

function declare(entry: AdapterEntry, secrets: ReadonlyMap<string, SecretEntry>, around: Surroundings): Declaration {
  const { spec } = entry.adapter;
  const key = apiKey(entry, secrets);
  const credentials = credentialsOf(entry, secrets);
  const url = pinned(entry.adapter);
  const undecided = selects(entry.adapter, around) === "undecided" ? around.engineProblem : undefined;
  return {
    name: entry.name,
    url: "reason" in url ? spec.artifactURL : url.pinned,
    credentials: "reason" in credentials ? {} : credentials.data,
    credentialsHosts: "reason" in credentials ? undefined : credentials.hosts,
    apiKey: typeof key === "object" ? undefined : key,
    origin: "manifest",
    lacksKey: false,
    restored: around.restored(entry),
    revision: `${entry.key}@${entry.revision}`,
    hold: "reason" in url ? url : typeof key === "object" ? key : "reason" in credentials ? credentials : undecided,
    baseModel: spec.baseModel,
    probe: annotationsOf(entry.adapter)[ANNOTATION_PROBE] === "off" ? "off" : undefined,
  };
}

function annotationsOf({ metadata }: ModelAdapter): Readonly<Record<string, unknown>> {
  return (metadata as { readonly annotations?: Readonly<Record<string, unknown>> | null }).annotations ?? {};
}

/** The artifactURL with the pin of the annotation. */
function pinned(adapter: ModelAdapter): { readonly pinned: string } | Problem {
  const annotation = annotationsOf(adapter)[ANNOTATION_ARTIFACT_SHA256];
  try {
    return { pinned: pinnedArtifactUrl(adapter.spec.artifactURL, annotation === undefined ? undefined : String(annotation)) };
  } catch (error) {
    if (error instanceof ArtifactUrlError) return { reason: "InvalidArtifactURL", message: error.message };
    throw error;
  }
}

function apiKey(entry: AdapterEntry, secrets: ReadonlyMap<string, SecretEntry>): string | undefined | Problem {
  const { apiKeySecretRef: ref, additionalConfig } = entry.adapter.spec;
  if (ref === undefined) return additionalConfig?.[CONFIG_API_KEY];
  const secret = secrets.get(`${entry.namespace}/${ref.name}`);
  if (secret === undefined) return missingSecret(entry, ref.name, "apiKeySecretRef");
  const key = secret.data[ref.key];
  if (key !== undefined && key !== "") return key;
  return {
    reason: "SecretNotFound",
    message: `Secret ${entry.namespace}/${ref.name} (${secret.file}) has no key "${ref.key}", which apiKeySecretRef names: add it to the Secret`,
  };
}

function credentialsOf(entry: AdapterEntry, secrets: ReadonlyMap<string, SecretEntry>): Problem | Pick<SecretEntry, "data" | "hosts"> {
  const ref = entry.adapter.spec.credentialsSecretRef;
  if (ref === undefined) return { data: {} };
  const secret = secrets.get(`${entry.namespace}/${ref.name}`);
  if (secret === undefined) return missingSecret(entry, ref.name, "credentialsSecretRef");
  const known = Object.values(SECRET_KEYS);
  if (known.some((k) => (secret.data[k] ?? secret.data[k.toUpperCase()]) !== undefined)) return { data: secret.data, hosts: secret.hosts };
  return {
    reason: "SecretNotFound",
    message: `Secret ${entry.namespace}/${ref.name} (${secret.file}) has none of the keys ${known.join(", ")}: add those of the artifact's storage`,
  };
}

function missingSecret(entry: AdapterEntry, name: string, field: string): Problem {
  return {
    reason: "SecretNotFound",
    message: `Secret ${entry.namespace}/${name}, which ${field} names, is not in the adapters folder: add its manifest there, in namespace ${entry.namespace}`,
  };
}

function indexSecrets(files: readonly FileContent[], problems: ManifestProblem[]): ReadonlyMap<string, SecretEntry> {
  const index = new Map<string, SecretEntry>();
  for (const secret of files.flatMap((f) => f.secrets)) {
    const id = `${secret.namespace}/${secret.name}`;
    const first = index.get(id);
    if (first === undefined) index.set(id, secret);
    else
      problems.push({
        file: secret.file,
        name: secret.name,
        reason: "DuplicateName",
        message: `Secret ${id} is also in ${first.file}, which counts: delete one`,
      });
  }
  return index;
}

function duplicate(loser: AdapterEntry, winner: AdapterEntry): ManifestProblem {
  return {
    file: loser.file,
    name: loser.name,
    reason: "DuplicateName",
    message: `ModelAdapter ${loser.namespace}/${loser.name} (${loser.file}, line ${loser.line}) has the name of ModelAdapter ${winner.namespace}/${winner.name} (${winner.file}, line ${winner.line}), which is the one that counts: an engine has one adapter of a name; rename or delete one of them`,
  };
}

function nameConflict(entry: AdapterEntry): ManifestProblem {
  return {
    file: entry.file,
    name: entry.name,
    reason: "NameConflict",
    message: `"${entry.name}" was declared by a call to the runtime's API: unload it there (POST /v1/lora_adapter/unload), or rename the ModelAdapter`,
  };
}

function notSelected({ file, name, adapter }: AdapterEntry, { podLabels, baseModels }: Surroundings): ManifestProblem {
  const problem = (message: string) => ({ file, name, reason: "NotSelected", message });
  const selector = adapter.spec.podSelector;
  if (podLabels[LABEL_ADAPTER_ENABLED] === "false")
    return problem(
      `podSelector ${selectorText(selector)} does not match this engine, which takes no adapters (${LABEL_ADAPTER_ENABLED}: false): start its runtime without this --pod-label`,
    );
  const given = podLabels[LABEL_MODEL_NAME];
  const names = given === undefined ? baseModels : [given];
  const labels = Object.entries({ ...podLabels, ...(names.length === 0 ? {} : { [LABEL_MODEL_NAME]: names.join(" or ") }) });
  const has = labels.length === 0 ? "none" : labels.map(([key, value]) => `${key}: ${value}`).join(", ");
  const isOtherModel = names.length > 0 && !names.some((n) => matchesSelector(ofModelName(selector), { [LABEL_MODEL_NAME]: n }));
  const remedy = isOtherModel
    ? "write the name of a base model that an engine serves, or start an engine that serves it"
    : "select by labels that the engine has, or give its runtime the missing ones with --pod-label";
  return problem(`podSelector ${selectorText(selector)} does not match the labels of this engine (${has}): ${remedy}`);
}

/** What a selector asks of the base model's name alone. */
function ofModelName({ matchLabels = {}, matchExpressions = [] }: LabelSelector): LabelSelector {
  return {
    matchLabels: Object.fromEntries(Object.entries(matchLabels).filter(([key]) => key === LABEL_MODEL_NAME)),
    matchExpressions: matchExpressions.filter((e) => e.key === LABEL_MODEL_NAME),
  };
}

function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const labels = Object.entries(matchLabels).map(([key, value]) => `${key}: ${value}`);
  const expressions = matchExpressions.map(({ key, operator, values = [] }) =>
    [key, operator, ...(values.length === 0 ? [] : [`(${values.join(", ")})`])].join(" "),
  );
  return `{${[...labels, ...expressions].join(", ")}}`;
}

import {
  ANNOTATION_ALLOWED_HOSTS,
  allowedHosts,
  BadHostsError,
  GROUP,
  KIND,
  type ManifestProblem,
  type ModelAdapter,
  validateModelAdapter,
} from "@aibrix/api";
import { type Document, LineCounter, parseAllDocuments } from "yaml";

export const DEFAULT_NAMESPACE = "default";

/** A ModelAdapter of a file. */
export interface AdapterEntry {
  /** Says which manifest this is, also after others were added to its file. */
  readonly key: string;
  readonly file: string;
  readonly line: number;
  readonly namespace: string;
  readonly name: string;
  readonly adapter: ModelAdapter;
  /** Changes when the file is saved. */
  readonly revision: string;
}

/** A Secret of a file, decoded. Its values are never shown. */
export interface SecretEntry {
  readonly file: string;
  readonly namespace: string;
  readonly name: string;
  readonly data: Readonly<Record<string, string>>;
  /** Hosts that its annotation names; `undefined` where it has none. */
  readonly hosts?: readonly string[] | undefined;
}

/** What counts of one file now. */
export interface FileContent {
  readonly adapters: readonly AdapterEntry[];
  readonly secrets: readonly SecretEntry[];
  readonly problems: readonly ManifestProblem[];
}

const EMPTY: FileContent = { adapters: [], secrets: [], problems: [] };

interface Found {
  readonly value: Readonly<Record<string, unknown>>;
  readonly line: number;
}

/**
 * Reads a file of manifests. Pure.
 *
 * A file that cannot be read as YAML changes nothing but its problem: what counted before goes on counting until the file is mended or removed,
 * so that a half-saved file takes no service down. The same holds for one object in it that became invalid, as it would with an API server,
 * which refuses the change and keeps the object.
 */
export function parseManifests(before: FileContent | undefined, file: string, revision: string, text: string): FileContent {
  const parsed = parseObjects(file, text);
  if ("problem" in parsed) return { ...(before ?? EMPTY), problems: [parsed.problem] };
  if (parsed.length === 0 && before !== undefined && before.adapters.length > 0 && text.trim() === "")
    return {
      ...before,
      problems: [problem(file, undefined, "the file is empty: delete it to take its adapters away, or write manifests into it")],
    };
  const adapters: AdapterEntry[] = [];
  const secrets: SecretEntry[] = [];
  const problems: ManifestProblem[] = [];
  const ordinals = new Map<string, number>();
  for (const { value, line } of parsed) {
    const { name, namespace } = identity(value);
    const at = `line ${line}: `;
    if (value.kind === undefined) problems.push(problem(file, name, `${at}an object without kind: write kind: ${KIND}`));
    else if (value.kind === KIND || isOurs(value)) {
      const id = `${namespace}/${name ?? ""}`;
      const ordinal = ordinals.get(id) ?? 0;
      ordinals.set(id, ordinal + 1);
      const key = `${file}#${id}#${ordinal}`;
      const checked = validateModelAdapter(value);
      if ("adapter" in checked)
        adapters.push({ key, file, line, namespace, name: checked.adapter.metadata.name, adapter: checked.adapter, revision });
      else {
        problems.push(problem(file, name, at + checked.problems.map((p) => `${p.field}: ${p.message}`).join("; ")));
        const last = before?.adapters.find((a) => a.key === key);
        if (last !== undefined) adapters.push(last);
      }
    } else if (value.kind === "Secret") {
      const data = name === undefined ? "metadata.name is required" : decodeSecret(value);
      const hosts = secretHosts(value);
      if (typeof data === "string") problems.push(problem(file, name, `${at}Secret: ${data}`));
      else if (typeof hosts === "string") problems.push(problem(file, name, `${at}Secret: ${hosts}`));
      else secrets.push({ file, namespace, name: name ?? "", data, hosts });
    }
  }
  return { adapters, secrets, problems };
}

function parseObjects(file: string, text: string): readonly Found[] | { readonly problem: ManifestProblem } {
  const lines = new LineCounter();
  // No pretty errors: those print the lines around an error, which may hold a Secret.
  const documents = parseAllDocuments(text, { prettyErrors: false, lineCounter: lines }) as readonly Document.Parsed[];
  const found: Found[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      return {
        problem: problem(
          file,
          undefined,
          `line ${line}, column ${col}: ${withoutSource(error.message)}; mend the YAML. What the file said before stays in force until then`,
        ),
      };
    }
    const { line } = lines.linePos(document.contents?.range?.[0] ?? 0);
    let value: unknown;
    try {
      value = document.toJS();
    } catch {
      return { problem: problem(file, undefined, `line ${line}: aliases that cannot be resolved; write the values out`) };
    }
    if (value === null || value === undefined) continue;
    if (typeof value !== "object" || Array.isArray(value))
      return {
        problem: problem(file, undefined, `line ${line}: not a manifest; write an object with apiVersion, kind, metadata and spec`),
      };
    found.push(...items({ value: value as Found["value"], line }));
  }
  return found;
}

/** `kubectl get -o yaml` writes several objects as one List. */
function items(found: Found): readonly Found[] {
  const { kind, items: list } = found.value;
  if (typeof kind !== "string" || !kind.endsWith("List") || !Array.isArray(list)) return [found];
  return list.filter((v) => v !== null && typeof v === "object").map((value: Found["value"]) => ({ value, line: found.line }));
}

/** An object of our group: a kind with a slip, for this group has one only. */
function isOurs({ apiVersion }: Found["value"]): boolean {
  return typeof apiVersion === "string" && apiVersion.startsWith(`${GROUP}/`);
}

function identity(value: Found["value"]): { readonly name: string | undefined; readonly namespace: string } {
  const { name, namespace } = (value.metadata ?? {}) as { name?: unknown; namespace?: unknown };
  return {
    name: typeof name === "string" && name !== "" ? name : undefined,
    namespace: typeof namespace === "string" && namespace !== "" ? namespace : DEFAULT_NAMESPACE,
  };
}

/** The values of a v1 Secret, or what is wrong with it in words that repeat none of them. */
function decodeSecret(value: Found["value"]): Readonly<Record<string, string>> | string {
  const result: Record<string, string> = {};
  for (const [key, encoded] of Object.entries((value.data ?? {}) as Record<string, unknown>)) {
    if (typeof encoded !== "string" || !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(encoded))
      return `data.${key} is not base64: encode the value, or write it as it is under stringData`;
    result[key] = Buffer.from(encoded, "base64").toString("utf8");
  }
  for (const [key, plain] of Object.entries((value.stringData ?? {}) as Record<string, unknown>)) {
    if (typeof plain !== "string") return `stringData.${key} is not a string: put it in quotes`;
    result[key] = plain;
  }
  return result;
}

/** What a Secret's annotation says of hosts, or what is wrong with it. */
function secretHosts(value: Found["value"]): readonly string[] | string | undefined {
  const { annotations } = (value.metadata ?? {}) as { readonly annotations?: Readonly<Record<string, unknown>> | null };
  const text = annotations?.[ANNOTATION_ALLOWED_HOSTS];
  if (text === undefined) return undefined;
  if (typeof text !== "string") return `the annotation ${ANNOTATION_ALLOWED_HOSTS} is not a string: put it in quotes`;
  try {
    return allowedHosts(text);
  } catch (error) {
    if (error instanceof BadHostsError) return `the annotation ${ANNOTATION_ALLOWED_HOSTS}: ${error.message}`;
    throw error;
  }
}

function problem(file: string, name: string | undefined, message: string): ManifestProblem {
  return { file, ...(name === undefined ? {} : { name }), reason: "InvalidManifest", message: message.slice(0, 2000) };
}

/** What a parse error says up to where it repeats the file's text, which may be part of a Secret. */
function withoutSource(message: string): string {
  return (message.split(/\s?:\s|["'`]|(?<= escape sequence) |, so /)[0] ?? "").replace(/\s+/g, " ");
}

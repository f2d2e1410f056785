import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ask } from "../parts/run.ts";

/** Where this machine gets npm packages from, for a build in a container. */
export interface NpmSettings {
  /** Lines of an .npmrc. May hold tokens: it reaches a build as a secret, never as a file of an image. */
  readonly npmrc: string;
  /** A bundle of certificates in PEM that this machine trusts, where it names one. */
  readonly caFile: string | undefined;
}

type Env = Readonly<Record<string, string | undefined>>;

/** What says where packages are and how to get at them; paths of this machine mean nothing in a container. */
const TAKEN = /^(registry|(https?-)?proxy|no-?proxy|strict-ssl|@[^:]+:registry|\/\/.+:(_auth|_authToken|username|_password|email))$/;

/** Reads npm's settings of this machine: its files, its variables. */
export async function npmSettings(env: Env, signal: AbortSignal): Promise<NpmSettings> {
  const globalFile = (await ask(["npm", "config", "get", "globalconfig"], signal))?.trim();
  const userFile = env.NPM_CONFIG_USERCONFIG ?? env.npm_config_userconfig ?? join(homedir(), ".npmrc");
  const texts = await Promise.all([globalFile, userFile].map((file) => (file ? readFile(file, "utf8").catch(() => "") : "")));
  return chooseNpmSettings(texts, env);
}

/** The settings that a build needs, out of the texts of .npmrc files (later ones win) and the environment (which wins over all). */
export function chooseNpmSettings(npmrcs: readonly string[], env: Env): NpmSettings {
  const all = new Map(npmrcs.flatMap((text) => [...lines(text)]));
  for (const [name, value] of Object.entries(env)) {
    const key = /^npm_config_(.+)$/i
      .exec(name)?.[1]
      ?.toLowerCase()
      .replaceAll(/(?!^)_/g, "-");
    if (key !== undefined && value) all.set(key, value);
  }
  const filled = [...all].map(([key, value]) => [key, fillIn(value, env)] as const);
  const npmrc = filled.flatMap(([key, value]) => (TAKEN.test(key) ? [`${key}=${value}\n`] : [])).join("");
  const caFile = filled.find(([key]) => key === "cafile")?.[1] || env.NODE_EXTRA_CA_CERTS || env.SSL_CERT_FILE || undefined;
  return { npmrc, caFile };
}

function* lines(text: string): Iterable<readonly [string, string]> {
  for (const line of text.split("\n")) {
    const [, key, value = ""] = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined) yield [key, value.replace(/^"(.*)"$/, "$1")];
  }
}

/** `${NAME}` is a variable of the environment. */
function fillIn(value: string, env: Env): string {
  return value.replaceAll(/\$\{([^}]+)\}/g, (whole, name: string) => env[name] ?? whole);
}

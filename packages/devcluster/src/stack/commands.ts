import { relative } from "node:path";

/** What a user types for this stack, with the state folder where it is not the default one. */
export interface CommandTexts {
  readonly start: string;
  readonly stop: string;
  readonly status: string;
}

/**
 * @param dirRoot - the state folder, @param defaultDir - the one that needs no flag; both absolute
 * @param startFlags - what the start was told besides
 */
export function commandTexts(dirRoot: string, defaultDir: string, startFlags: readonly string[] = []): CommandTexts {
  const dirFlags = dirRoot === defaultDir ? [] : ["--dir", shellWord(dirRoot)];
  const flag = npmFlags(dirFlags);
  return {
    start: `npm start${npmFlags([...startFlags.map(shellWord), ...dirFlags])}`,
    stop: `npm run stop${flag}`,
    status: `npm run status${flag}`,
  };
}

function npmFlags(flags: readonly string[]): string {
  return flags.length === 0 ? "" : ` -- ${flags.join(" ")}`;
}

/** A word as a shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A path as short as it can be said from here. */
export function shortPath(path: string, cwd: string): string {
  const here = relative(cwd, path);
  if (here === "") return ".";
  return here.startsWith("..") ? path : here;
}

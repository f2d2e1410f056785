import { relative } from "node:path";

/** What a user types for this stack, with the state folder where it is not the default one. */
export interface CommandTexts {
  readonly start: string;
  readonly stop: string;
  readonly status: string;
}

/** @param dirRoot - the state folder, @param defaultDir - the one that needs no flag; both absolute */
export function commandTexts(dirRoot: string, defaultDir: string): CommandTexts {
  const flag = dirRoot === defaultDir ? "" : ` -- --dir ${shellWord(dirRoot)}`;
  return { start: `npm start${flag}`, stop: `npm run stop${flag}`, status: `npm run status${flag}` };
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

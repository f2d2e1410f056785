import { readFileSync } from "node:fs";

/** Flags of Node in a program's first line: the command that an image has is started with them, `node FILE` is not. */
export function nodeFlags(main: string): readonly string[] {
  const [first = ""] = readFileSync(main, "utf8").split("\n", 1);
  return /^#!.* node (\S.*)$/.exec(first)?.[1]?.split(" ") ?? [];
}

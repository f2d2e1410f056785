import { resolve } from "node:path";
import { UsageError } from "./errors.ts";
import type { Values } from "./flags.ts";

/** Where relative paths start: the user's folder, and the workspace for the defaults. */
export interface Bases {
  readonly cwd: string;
  readonly workspace: string;
}

export function httpUrl(flag: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.username !== "") {
    throw new UsageError(`--${flag} must be an address such as http://127.0.0.1:8000`);
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

export function integer(flag: string, value: string, least: number, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most)
    throw new UsageError(`--${flag}=${value} must be a whole number from ${least} to ${most}`);
  return number;
}

export function oneOf<const V extends string>(flag: string, value: string, allowed: readonly V[]): V {
  const found = allowed.find((v) => v === value);
  if (found === undefined) throw new UsageError(`--${flag}=${value} must be ${allowed.join(" or ")}`);
  return found;
}

export function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}

export function list(values: Values, name: string): readonly string[] {
  const value = values[name];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

/** A path as the user means it: from where they are; a default from the workspace. */
export function path(values: Values, name: string, fallback: string, bases: Bases): string {
  const value = text(values, name);
  if (value === "") throw new UsageError(`--${name} needs a path`);
  return value === undefined ? resolve(bases.workspace, fallback) : resolve(bases.cwd, value);
}

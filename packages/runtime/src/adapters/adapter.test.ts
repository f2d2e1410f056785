import { expect, test } from "vitest";
import { NoLongerWanted } from "../errors.ts";
import { Adapter } from "./adapter.ts";
import type { Declaration } from "./declaration.ts";

const DECLARED: Declaration = {
  name: "a",
  url: "hf://acme/a",
  credentials: { huggingface_token: "one" },
  apiKey: undefined,
  origin: "api",
  lacksKey: false,
  restored: false,
  revision: "",
  hold: undefined,
  baseModel: undefined,
};

test.each([
  { name: "the same goes on", next: {}, aborts: false },
  { name: "another token begins again with what is here", next: { credentials: { huggingface_token: "two" } }, aborts: true, keeps: true },
  { name: "other hosts begin again with what is here", next: { credentialsHosts: ["h"] }, aborts: true, keeps: true },
  {
    name: "a Secret that went missing ends it, with what is here",
    next: { credentials: {}, hold: { reason: "SecretNotFound", message: "" } as const },
    aborts: true,
    keeps: true,
  },
  { name: "another URL drops what is here", next: { url: "hf://acme/b" }, aborts: true, keeps: false },
])("a download under way, declared anew: $name", ({ next, aborts, keeps }) => {
  const a = new Adapter(DECLARED, []);
  const fetch = new AbortController();
  a.fetch = fetch;
  a.redeclare({ ...DECLARED, ...next });
  expect(fetch.signal.aborted).toBe(aborts);
  if (aborts) expect(fetch.signal.reason instanceof NoLongerWanted).toBe(!keeps);
});

test.each([
  { name: "the same content", next: { credentials: {} }, attempts: 2 },
  { name: "another content", next: { url: "hf://acme/b" }, attempts: 0 },
])("tries that failed are counted for $name", ({ next, attempts }) => {
  const a = new Adapter(DECLARED, []);
  a.attempts = 2;
  a.redeclare({ ...DECLARED, ...next });
  expect(a.attempts).toBe(attempts);
});

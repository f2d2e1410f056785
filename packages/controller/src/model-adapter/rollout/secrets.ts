import type { Content } from "../contents.ts";

/*
 * What a content's secrets are called: a word for the Secret of the credentials, one for the Secret of the API key, and one for their versions.
 * The controller writes it into the status, so it is made of nothing that is secret.
 */

/** Names secrets by the words for where the credentials, where the key, and which versions of them. */
export function secretsName(credentials: string, key: string, versions: string): string {
  return `${credentials}.${key}.${versions}`;
}

/** Whether two contents are declared with the same Secrets, whatever is in these by now. */
export function namesSameSecrets(a: Pick<Content, "secrets">, b: Pick<Content, "secrets">): boolean {
  return sourceOf(a) === sourceOf(b) && parts(a)[1] === parts(b)[1];
}

/** Whether the credentials of two contents come from the same Secret: with others a reference may lead elsewhere. */
export function namesSameCredentials(a: Pick<Content, "secrets">, b: Pick<Content, "secrets">): boolean {
  return sourceOf(a) === sourceOf(b);
}

function sourceOf(of: Pick<Content, "secrets">): string {
  return parts(of)[0] ?? "";
}

function parts({ secrets = "" }: Pick<Content, "secrets">): readonly string[] {
  return secrets.split(".");
}

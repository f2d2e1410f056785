import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type Front, startFront } from "./front.ts";
import type { S3 } from "./s3.ts";

const AUTHORIZATION = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;

/**
 * A way to an S3 server that knows sessions: versitygw takes no session token but those of its own token service. A request has to be signed with
 * the keys and a session token that was given; it is passed on signed anew, with the same keys and without the token.
 */
export async function startSessionFront(s3: S3, given: ReadonlySet<string>): Promise<Front> {
  const front = await startFront(s3.endpoint);
  front.rule = (call) => {
    const problem = problemOf(call, s3, given);
    if (problem !== undefined)
      return (answer) => answer.writeHead(403).end(`<Error><Code>${problem}</Code><Message>refused by the front</Message></Error>`);
    delete call.headers["x-amz-security-token"];
    const [, key, scope = "", signed = ""] = AUTHORIZATION.exec(call.headers.authorization ?? "") ?? [];
    const names = signed.split(";").filter((name) => name !== "x-amz-security-token");
    const signature = signatureOf(call, names, scope, s3.secretAccessKey);
    call.headers.authorization = `AWS4-HMAC-SHA256 Credential=${key}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
    return undefined;
  };
  return front;
}

function problemOf(call: IncomingMessage, s3: S3, given: ReadonlySet<string>): string | undefined {
  const [, key, scope = "", signed = "", signature] = AUTHORIZATION.exec(call.headers.authorization ?? "") ?? [];
  if (key !== s3.accessKeyId) return "InvalidAccessKeyId";
  const names = signed.split(";");
  if (!names.includes("x-amz-security-token") || !given.has(String(call.headers["x-amz-security-token"]))) return "InvalidToken";
  return signatureOf(call, names, scope, s3.secretAccessKey) === signature ? undefined : "SignatureDoesNotMatch";
}

/** Signature Version 4 of a request as it came. */
function signatureOf({ method, url = "/", headers }: IncomingMessage, names: readonly string[], scope: string, secret: string): string {
  const [path = "", query = ""] = url.split("?");
  const canonical = [
    method,
    path,
    query
      .split("&")
      .map((pair) => (pair === "" || pair.includes("=") ? pair : `${pair}=`))
      .sort()
      .join("&"),
    ...names.map((name) => `${name}:${String(headers[name]).trim()}`),
    "",
    names.join(";"),
    headers["x-amz-content-sha256"],
  ].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const hmac = (by: string | Buffer, text: string) => createHmac("sha256", by).update(text).digest();
  const key = scope.split("/").reduce<string | Buffer>((by, part) => hmac(by, part), `AWS4${secret}`);
  return hmac(key, ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hash].join("\n")).toString("hex");
}

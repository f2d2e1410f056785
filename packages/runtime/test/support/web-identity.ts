import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

const ROLE = "arn:aws:iam::123456789012:role/adapters";
const AUDIENCE = "sts.amazonaws.com";
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A cluster's key, which signs service accounts' tokens. */
const cluster = generateKeyPairSync("rsa", { modulusLength: 2048 });

/**
 * A service account's token, as a kubelet mounts it.
 *
 * @param validS - for how long from now on, in seconds; negative for one that has expired
 */
export function serviceAccountToken(validS = 3_600, audience: string = AUDIENCE): string {
  const nowS = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "https://cluster.test",
    aud: [audience],
    sub: "system:serviceaccount:default:engine",
    iat: nowS,
    exp: nowS + validS,
  };
  const head = `${base64url({ alg: "RS256", typ: "JWT" })}.${base64url(claims)}`;
  return `${head}.${sign("RSA-SHA256", Buffer.from(head), cluster.privateKey).toString("base64url")}`;
}

/** Where a token is exchanged for keys. */
export interface Sts {
  readonly url: string;
  readonly role: string;
  /** Session tokens that it gave. */
  readonly given: ReadonlySet<string>;
  readonly close: () => Promise<void>;
}

/**
 * `AssumeRoleWithWebIdentity` of Amazon's token service: checks signature, audience and time of the token, and the role.
 *
 * @param keys - what it gives, with a session token that is another one each time
 */
export async function startSts(keys: { readonly accessKeyId: string; readonly secretAccessKey: string }): Promise<Sts> {
  const given = new Set<string>();
  const server = createServer((request, response) => {
    const answer = async () => {
      const asked = new URLSearchParams(await text(request));
      const problem = problemOf(asked);
      response.writeHead(problem === undefined ? 200 : 400, { "content-type": "text/xml" });
      if (problem !== undefined) {
        const error = `<Type>Sender</Type><Code>${problem}</Code><Message>${problem} of the token</Message>`;
        return void response.end(`<ErrorResponse><Error>${error}</Error></ErrorResponse>`);
      }
      const token = randomBytes(24).toString("base64");
      given.add(token);
      response.end(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
        <AccessKeyId>${keys.accessKeyId}</AccessKeyId><SecretAccessKey>${keys.secretAccessKey}</SecretAccessKey><SessionToken>${token}</SessionToken>
        <Expiration>${new Date(Date.now() + 3_600_000).toISOString()}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`);
    };
    answer().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    role: ROLE,
    given,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What is wrong with a request, by the names of Amazon's errors. */
function problemOf(asked: URLSearchParams): string | undefined {
  if (asked.get("Action") !== "AssumeRoleWithWebIdentity") return "InvalidAction";
  if (asked.get("RoleArn") !== ROLE) return "AccessDenied";
  const [head = "", claims = "", signature = ""] = (asked.get("WebIdentityToken") ?? "").split(".");
  const isSigned = verify(
    "RSA-SHA256",
    Buffer.from(`${head}.${claims}`),
    createPublicKey(cluster.publicKey.export({ type: "spki", format: "pem" })),
    Buffer.from(signature, "base64url"),
  );
  if (!isSigned) return "InvalidIdentityToken";
  const { aud, exp } = JSON.parse(Buffer.from(claims, "base64url").toString("utf8")) as {
    readonly aud: readonly string[];
    readonly exp: number;
  };
  if (!aud.includes(AUDIENCE)) return "InvalidIdentityToken";
  return exp * 1000 < Date.now() ? "ExpiredTokenException" : undefined;
}

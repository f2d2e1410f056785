import { generateKeyPairSync, randomBytes, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { certificate } from "./certificate.ts";
import type { Gcs } from "./servers.ts";

const EMAIL = "adapters@test.iam.gserviceaccount.com";
const SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";

/** What stands for Google's hosts: their names lead to it by a proxy, and its certificate is theirs. */
export interface Google {
  /** How a runtime comes to it, with its environment. */
  readonly env: NodeJS.ProcessEnv;
  /** A service account's JSON, as Google gives it. */
  readonly account: string;
  /** The same with a key of somebody else's. */
  readonly stranger: string;
  /** Access tokens that it gave. */
  readonly given: ReadonlySet<string>;
  /** Host and path of every request, in order; without queries. */
  readonly asked: readonly string[];
  /** `GCE_METADATA_HOST`: a machine's metadata server, which gives its service account's token. */
  readonly metadataHost: string;
  readonly close: () => Promise<void>;
}

/**
 * oauth2.googleapis.com, which checks the signature and the claims of what a service account asks with, and storage.googleapis.com, which passes
 * on to an emulator what brings a token that was given, and refuses the rest.
 */
export async function startGoogle(dir: string, gcs: Gcs): Promise<Google> {
  const tls = certificate(dir, ["DNS:oauth2.googleapis.com", "DNS:storage.googleapis.com"]);
  const [own, other] = [generateKeyPairSync("rsa", { modulusLength: 2048 }), generateKeyPairSync("rsa", { modulusLength: 2048 })];
  const given = new Set<string>();
  const asked: string[] = [];
  const grant = () => {
    const token = `ya29.${randomBytes(24).toString("base64url")}`;
    given.add(token);
    return JSON.stringify({ access_token: token, expires_in: 3599, token_type: "Bearer" });
  };
  const exchange = async (call: IncomingMessage, answer: ServerResponse) => {
    const assertion = new URLSearchParams(await text(call)).get("assertion") ?? "";
    const [head = "", claims = "", signature = ""] = assertion.split(".");
    const isSigned = verify("RSA-SHA256", Buffer.from(`${head}.${claims}`), own.publicKey, Buffer.from(signature, "base64url"));
    const { iss, scope, aud, exp } = JSON.parse(Buffer.from(claims, "base64url").toString() || "{}") as Record<string, unknown>;
    const isGood =
      isSigned && iss === EMAIL && scope === SCOPE && aud === "https://oauth2.googleapis.com/token" && Number(exp) > Date.now() / 1000;
    answer.writeHead(isGood ? 200 : 400, { "content-type": "application/json" });
    answer.end(isGood ? grant() : JSON.stringify({ error: "invalid_grant", error_description: "Invalid JWT Signature." }));
  };
  const store = (call: IncomingMessage, answer: ServerResponse) => {
    if (!given.has((call.headers.authorization ?? "").replace("Bearer ", ""))) {
      answer.writeHead(401, { "content-type": "application/json" });
      return answer.end(JSON.stringify({ error: { code: 401, message: "Invalid Credentials" } }));
    }
    const { host: _, ...headers } = call.headers;
    const onward = request(new URL(call.url ?? "/", gcs.endpoint), { method: call.method ?? "GET", headers }, (came) => {
      answer.writeHead(came.statusCode ?? 502, came.headers);
      came.pipe(answer);
    });
    onward.once("error", () => answer.destroy());
    return call.pipe(onward);
  };
  const hosts = createTlsServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, (call, answer) => {
    asked.push(`${call.headers.host}${call.url?.split("?")[0]}`);
    if (call.headers.host?.startsWith("oauth2.")) exchange(call, answer).catch(() => answer.destroy());
    else store(call, answer);
  });
  const sockets = new Set<Socket>();
  const proxy = createHttpServer().on("connect", (call: IncomingMessage, socket: Socket) => {
    const target = connect((hosts.address() as AddressInfo).port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      target.pipe(socket).pipe(target);
    });
    for (const end of [socket, target])
      sockets.add(end.on("error", () => undefined).on("close", () => [socket, target].map((s) => s.destroy())));
    if (!/^(oauth2|storage)\.googleapis\.com:443$/.test(call.url ?? "")) socket.destroy();
  });
  const metadata = createHttpServer((call, answer) => {
    asked.push(`metadata${call.url?.split("?")[0]}`);
    answer.setHeader("metadata-flavor", "Google");
    if (call.headers["metadata-flavor"] !== "Google") return answer.writeHead(403).end();
    if (call.url?.includes("/service-accounts/default/token")) return answer.setHeader("content-type", "application/json").end(grant());
    return answer.end(call.url?.includes("universe") ? "googleapis.com" : "test");
  });
  for (const server of [hosts, proxy, metadata]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const at = (server: { address(): unknown }) => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const json = (key: typeof own) =>
    JSON.stringify({
      type: "service_account",
      client_email: EMAIL,
      private_key_id: "1",
      private_key: key.privateKey.export({ type: "pkcs8", format: "pem" }),
      token_uri: "https://oauth2.googleapis.com/token",
    });
  return {
    env: { HTTPS_PROXY: `http://${at(proxy)}`, NODE_EXTRA_CA_CERTS: tls.cert, NO_PROXY: "127.0.0.1" },
    account: json(own),
    stranger: json(other),
    given,
    asked,
    metadataHost: at(metadata),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      for (const server of [hosts, proxy, metadata]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../parts/run.ts";

/** A certificate and its key, as PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** Whom a certificate is for. */
export interface Subject {
  /** A user's name to the API server. */
  readonly commonName: string;
  /** A user's groups to the API server. */
  readonly organizations?: readonly string[];
  readonly usage: "serverAuth" | "clientAuth";
  /** As OpenSSL writes them: `DNS:localhost`, `IP:127.0.0.1`. */
  readonly altNames?: readonly string[];
}

const DAYS = "30";

/**
 * A certificate authority in a folder. Keys are made by Node; certificates by the `openssl` program, which every machine with a shell has:
 * Node cannot sign certificates, and the libraries that can bring more code than this.
 */
export class CertificateAuthority {
  readonly certFile: string;
  readonly #dir: string;
  readonly #keyFile: string;

  private constructor(dir: string) {
    this.#dir = dir;
    this.certFile = join(dir, "ca.crt");
    this.#keyFile = join(dir, "ca.key");
  }

  /** Makes a new authority in an empty folder. */
  static async create(dir: string, signal: AbortSignal): Promise<CertificateAuthority> {
    const ca = new CertificateAuthority(dir);
    await writeKey(ca.#keyFile);
    const extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"];
    const subject = ["-subj", "/CN=aibrix-test-ca", ...extensions.flatMap((e) => ["-addext", e])];
    await openssl(["req", "-x509", "-new", "-key", ca.#keyFile, "-sha256", "-days", DAYS, ...subject, "-out", ca.certFile], signal);
    return ca;
  }

  /** Makes a key and a certificate, as `name.key` and `name.crt`. */
  async issue(
    name: string,
    { commonName, organizations = [], usage, altNames = [] }: Subject,
    signal: AbortSignal,
  ): Promise<CertificateFiles> {
    const [key, cert, csr, ext] = ["key", "crt", "csr", "ext"].map((suffix) => join(this.#dir, `${name}.${suffix}`)) as [
      string,
      string,
      string,
      string,
    ];
    await writeKey(key);
    const lines = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature", `extendedKeyUsage=${usage}`];
    if (altNames.length > 0) lines.push(`subjectAltName=${altNames.join(",")}`);
    await writeFile(ext, `${lines.join("\n")}\n`);
    const subject = [...organizations.map((o) => `/O=${escapeSubject(o)}`), `/CN=${escapeSubject(commonName)}`].join("");
    await openssl(["req", "-new", "-key", key, "-subj", subject, "-out", csr], signal);
    const serial = `0x${randomBytes(15).toString("hex")}`;
    const signed = ["-CA", this.certFile, "-CAkey", this.#keyFile, "-set_serial", serial, "-extfile", ext, "-sha256", "-days", DAYS];
    await openssl(["x509", "-req", "-in", csr, ...signed, "-out", cert], signal);
    return { cert, key };
  }
}

/** An ECDSA key pair as PEM files: `file` and, where wanted, its public half. */
export async function writeKey(file: string, publicFile?: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  await writeFile(file, privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
  if (publicFile !== undefined) await writeFile(publicFile, publicKey.export({ type: "spki", format: "pem" }));
}

async function openssl(args: readonly string[], signal: AbortSignal): Promise<void> {
  await run({ argv: ["openssl", ...args], timeoutMs: 30_000 }, signal);
}

/** Separators of OpenSSL's one-line subjects. */
function escapeSubject(part: string): string {
  return part.replace(/[\\/+]/g, "\\$&");
}

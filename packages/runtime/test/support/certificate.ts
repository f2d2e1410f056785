import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** A certificate, which is its own authority, and its key. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** @param names - as OpenSSL writes them: `IP:127.0.0.1`, `DNS:files.example.test` */
export function certificate(dir: string, names: readonly string[]): Certificate {
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const what = [
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=test",
    "-addext",
    `subjectAltName=${names.join(",")}`,
  ];
  execFileSync("openssl", ["req", ...what, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, key };
}

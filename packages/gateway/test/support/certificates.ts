import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { CertificateAuthority } from "@aibrix/devcluster";

/** A certificate and its key, as PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** Makes an authority in a folder of its own. */
export async function authority(dir: string, signal: AbortSignal): Promise<CertificateAuthority> {
  return await CertificateAuthority.create(await mkdtemp(join(dir, "ca-")), signal);
}

/** A certificate for a server on this machine. */
export async function forServer(ca: CertificateAuthority, name: string, signal: AbortSignal): Promise<CertificateFiles> {
  return await ca.issue(name, { commonName: name, usage: "serverAuth", altNames: ["DNS:localhost", "IP:127.0.0.1"] }, signal);
}

/** A certificate for a client. */
export async function forClient(ca: CertificateAuthority, name: string, signal: AbortSignal): Promise<CertificateFiles> {
  return await ca.issue(name, { commonName: name, usage: "clientAuth" }, signal);
}

/** How Envoy secures its connections to a server of this authority, with a certificate of its own where there is one. */
export function envoyTls(serverCa: string, own: readonly CertificateFiles[]): object {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      sni: "localhost",
      common_tls_context: {
        alpn_protocols: ["h2"],
        tls_certificates: own.map(({ cert, key }) => ({ certificate_chain: { filename: cert }, private_key: { filename: key } })),
        validation_context: { trusted_ca: { filename: serverCa } },
      },
    },
  };
}

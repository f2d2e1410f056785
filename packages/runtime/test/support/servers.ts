import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { connect as connectTo } from "node:net";
import { join } from "node:path";
import { ensureFakeGcs, ensureNginx, type PartContext } from "@aibrix/devcluster";
import { Storage } from "@google-cloud/storage";
import { vi } from "vitest";
import { end, freePort } from "./process.ts";

const CONTEXT: PartContext = { log: () => undefined, signal: new AbortController().signal };
const START = { timeout: 20_000, interval: 50 };

/** A real web server over a folder. */
export interface Web {
  readonly url: string;
  readonly port: number;
  /** Lines of its access log: status, method, path, what `Authorization` said, Range. */
  readonly log: () => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
}

export interface WebOptions {
  /** Files under `/private/` want this user and password; `user:{PLAIN}password` as nginx reads it. */
  readonly user?: string;
  /** Files under `/token/` want this bearer token. */
  readonly token?: string;
  /** `/moved/…` redirects there. */
  readonly movedTo?: string;
  /** Serves over TLS with this certificate and key. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** nginx over `<dir>/www`. */
export async function startWeb(dir: string, options: WebOptions = {}): Promise<Web> {
  const { bin } = await ensureNginx(CONTEXT);
  const port = await freePort();
  for (const name of ["www/private", "www/token", "tmp"]) mkdirSync(join(dir, name), { recursive: true });
  await writeFile(join(dir, "users"), `${options.user ?? "nobody:{PLAIN}-"}\n`);
  await writeFile(join(dir, "nginx.conf"), configuration(dir, port, options));
  const server = spawn(bin, ["-p", dir, "-c", join(dir, "nginx.conf"), "-e", join(dir, "error.log")], { stdio: "ignore" });
  await vi.waitFor(() => connect(port), START);
  return {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    port,
    log: async () => (await readFile(join(dir, "access.log"), "utf8")).split("\n").filter((line) => line !== ""),
    close: () => end(server),
  };
}

function configuration(dir: string, port: number, { token = "-", movedTo = "", tls }: WebOptions): string {
  const bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/tmp/${name};`);
  const listen =
    tls === undefined
      ? `listen 127.0.0.1:${port};`
      : `listen 127.0.0.1:${port} ssl; ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};`;
  // Started by root its worker would be nobody, whom the test's folder is closed to.
  const user = process.getuid?.() === 0 ? "user root; " : "";
  return `${user}daemon off; worker_processes 1; pid ${dir}/nginx.pid;
events {}
http {
  ${bodies.join(" ")}
  log_format short '$status $request_method $uri $http_authorization $http_range';
  access_log ${dir}/access.log short;
  server {
    ${listen}
    root ${dir}/www;
    location /private/ { auth_basic private; auth_basic_user_file ${dir}/users; }
    location /token/ { if ($http_authorization != "Bearer ${token}") { return 401; } }
    location /moved/ { rewrite ^/moved/(.*)$ ${movedTo}/$1 redirect; }
    location /metadata/ { return 302 http://169.254.169.254/latest/x.tar.gz; }
  }
}
`;
}

/** An emulator of Google Cloud Storage, with a bucket `models`. */
export interface Gcs {
  readonly endpoint: string;
  readonly put: (key: string, body: Buffer) => Promise<void>;
  readonly putFolder: (prefix: string, folder: string) => Promise<void>;
  /** Removes every object under a prefix; what a bucket keeps of them stays. */
  readonly removeAll: (prefix: string) => Promise<void>;
  /** Removes an object with all that is kept of it. */
  readonly forget: (key: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** @param versions - the bucket keeps former generations */
export async function startGcs({ versions = false }: { readonly versions?: boolean } = {}): Promise<Gcs> {
  const { bin } = await ensureFakeGcs(CONTEXT);
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const args = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", String(port), "-public-host", `127.0.0.1:${port}`];
  const server = spawn(bin, [...args, "-external-url", endpoint, "-log-level", "error"], { stdio: "ignore" });
  const storage = new Storage({ apiEndpoint: endpoint, projectId: "test" });
  await vi.waitFor(() => storage.createBucket("models", { versioning: { enabled: versions } }), START);
  const put = async (key: string, body: Buffer) => {
    await storage.bucket("models").file(key).save(body, { resumable: false });
  };
  return {
    endpoint,
    put,
    putFolder: async (prefix, folder) => {
      for (const name of await readdir(folder)) await put(`${prefix}/${name}`, await readFile(join(folder, name)));
    },
    removeAll: async (prefix) => {
      const [files] = await storage.bucket("models").getFiles({ prefix: `${prefix}/` });
      for (const file of files) await storage.bucket("models").file(file.name).delete();
    },
    forget: async (key) => {
      const [files] = await storage.bucket("models").getFiles({ prefix: key, versions: true });
      for (const { name, metadata } of files)
        await storage
          .bucket("models")
          .file(name, { generation: String(metadata.generation) })
          .delete();
    },
    close: () => end(server),
  };
}

async function connect(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connectTo(port, "127.0.0.1", () => {
      socket.end();
      resolve();
    });
    socket.once("error", reject);
  });
}

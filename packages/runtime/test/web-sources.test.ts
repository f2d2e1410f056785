import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, request as forward, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificate } from "./support/certificate.ts";
import { type Program, stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { type Gcs, startGcs, startWeb, type Web } from "./support/servers.ts";
import { complete, type Runtime, World } from "./support/world.ts";

const world = new World();
const ALLOWED = { "model.aibrix.ai/allowed-hosts": "127.0.0.1" };
const TOKEN = "web-token-that-nobody-reads";
const PASSWORD = "web-password-that-nobody-reads";
let engine: Program;
let runtime: Runtime;
let hub: Hub;
let web: Web;
let other: Web;
let secure: Web;
let gcs: Gcs;
let s3: S3;

beforeAll(async () => {
  const plain = world.path("plain/adapter");
  await writeAdapter(plain, { seed: 11 });
  await writeAdapter(world.path("hub/acme/many/sub/one"), { seed: 12 });
  await writeAdapter(world.path("hub/acme/many"), { seed: 13 });
  const tls = certificate(world.dir, ["IP:127.0.0.1"]);
  other = await startWeb(world.path("other"), { token: TOKEN });
  web = await startWeb(world.path("web"), { user: `me:{PLAIN}${PASSWORD}`, token: TOKEN, movedTo: other.url });
  secure = await startWeb(world.path("secure"), { tls });
  const www = world.path("web/www");
  execFileSync("tar", ["-C", world.path("plain"), "-czf", join(www, "a.tar.gz"), "adapter"]);
  execFileSync("tar", ["-C", plain, "-cf", join(www, "a.tar"), "."]);
  execFileSync("python3", [
    "-c",
    "import shutil,sys; shutil.make_archive(sys.argv[1], 'zip', sys.argv[2])",
    join(www, "a"),
    world.path("plain"),
  ]);
  execFileSync("sh", ["-c", 'ln -s /etc/passwd link && tar -cf "$1" adapter link', "sh", join(www, "link.tar")], {
    cwd: world.path("plain"),
  });
  rmSync(world.path("plain/link"));
  for (const to of ["web/www/private", "web/www/token", "other/www", "secure/www"])
    copyFileSync(join(www, "a.tar.gz"), world.path(`${to}/a.tar.gz`));
  gcs = await startGcs();
  await gcs.putFolder("adapters/sql", plain);
  await gcs.put("adapters/sql/checkpoint-10/optimizer.pt", Buffer.alloc(10));
  s3 = await startS3(world.path("s3"));
  await s3.putFolder("models", "adapters/sql", plain);
  hub = await startHub({ root: world.path("hub") });
  engine = await world.engine();
  runtime = await world.runtime(engine.url, {
    env: { HF_ENDPOINT: hub.url, STORAGE_EMULATOR_HOST: gcs.endpoint, NODE_EXTRA_CA_CERTS: tls.cert },
  });
}, 600_000);
afterAll(async () => {
  await stopPrograms();
  for (const server of [hub, web, other, secure, gcs, s3]) await server?.close();
  world.remove();
});

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Sees that what serves has the bytes of the folder that was packed. */
async function serves(name: string, from = world.path("plain/adapter")) {
  const status = await runtime.until(name, { state: expect.stringMatching(/Serving|Failed/) });
  expect([status.state, status.message]).toEqual(["Serving", undefined]);
  const path = status.serving?.path ?? "";
  for (const file of ["adapter_config.json", "adapter_model.safetensors"])
    expect(readFileSync(join(path, file)).equals(readFileSync(join(from, file)))).toBe(true);
  expect(readdirSync(path).filter((f) => !f.startsWith("."))).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
  expect((await complete(engine, name)).status).toBe(200);
  return status;
}

describe("archives of nginx", () => {
  test.each(["a.tar.gz", "a.tar", "a.zip"])("%s", async (file) => {
    const name = file.replaceAll(".", "-");
    await runtime.load(name, `${web.url}/${file}`);
    await serves(name);
    await runtime.post("unload", { lora_name: name });
    await runtime.gone(name);
  });

  test("one that is here already is not fetched again, and a replaced one is", async () => {
    copyFileSync(world.path("web/www/a.tar.gz"), world.path("web/www/moving.tar.gz"));
    const url = `${web.url}/moving.tar.gz`;
    await runtime.load("moving", url);
    const before = await serves("moving");
    const gets = async () => (await web.log()).filter((l) => l.includes(" GET /moving.tar.gz")).length;
    const fetched = await gets();
    await runtime.post("unload", { lora_name: "moving" });
    await runtime.gone("moving");
    await runtime.load("moving", url);
    expect((await serves("moving")).content_digest).toBe(before.content_digest);
    expect(await gets()).toBe(fetched);
    await writeAdapter(world.path("plain2/adapter"), { seed: 14 });
    execFileSync("tar", ["-C", world.path("plain2"), "-czf", world.path("web/www/moving.tar.gz"), "adapter"]);
    await runtime.post("unload", { lora_name: "moving" });
    await runtime.gone("moving");
    await runtime.load("moving", url);
    expect((await serves("moving", world.path("plain2/adapter"))).content_digest).not.toBe(before.content_digest);
    await runtime.post("unload", { lora_name: "moving" });
  });

  test("with a link in it nothing reaches the engine", async () => {
    await runtime.load("link", `${web.url}/link.tar`);
    expect(await runtime.failed("link", "ArtifactInvalid")).toMatchObject({
      retryable: false,
      message: expect.stringMatching(/"link" is refused.*SymbolicLink/),
    });
    expect(existsSync(join(world.artifacts, "link"))).toBe(false);
  });

  test("what is not there", async () => {
    await runtime.load("none", `${web.url}/none.zip`);
    await runtime.failed("none", "ArtifactNotFound");
  });

  test("over TLS by an authority of one's own", async () => {
    await runtime.load("secure", `${secure.url}/a.tar.gz`);
    await serves("secure");
    await runtime.post("unload", { lora_name: "secure" });
  });

  test.each([
    { kind: "basic", path: "private", credentials: { http_username: "me", HTTP_PASSWORD: PASSWORD } },
    { kind: "bearer", path: "token", credentials: { http_bearer_token: TOKEN } },
  ])("$kind credentials: wanted, wrong, not for this host, right", async ({ kind, path, credentials }) => {
    const url = `${web.url}/${path}/a.tar.gz`;
    await runtime.load(kind, url);
    expect((await runtime.failed(kind, "ArtifactDenied")).message).toMatch(/set credentialsSecretRef.*allowed-hosts to 127\.0\.0\.1/);
    await runtime.load(kind, url, { credentials });
    expect((await runtime.failed(kind, "ArtifactNotAllowed")).message).toMatch(/annotate it with model\.aibrix\.ai\/allowed-hosts/);
    const wrong = Object.fromEntries(Object.entries(credentials).map(([k, v]) => [k, k === "http_username" ? v : "wrong"]));
    await runtime.load(kind, url, { credentials: wrong, credentials_hosts: ["127.0.0.1"] });
    await runtime.until(kind, { state: "Failed", message: expect.stringContaining("refused the credentials") });
    await runtime.load(kind, url, { credentials, credentials_hosts: [`127.0.0.1:${web.port}`] });
    await serves(kind);
    await runtime.post("unload", { lora_name: kind });
    expect(runtime.program.output() + JSON.stringify(await runtime.snapshot())).not.toMatch(/nobody-reads/);
  });

  test("a redirect is followed, without the credentials", async () => {
    await runtime.load("moved", `${web.url}/moved/a.tar.gz`, {
      credentials: { http_bearer_token: TOKEN },
      credentials_hosts: ["127.0.0.1"],
    });
    await serves("moved");
    expect((await web.log()).some((l) => l.includes(`/moved/a.tar.gz Bearer ${TOKEN}`))).toBe(true);
    expect((await other.log()).join("\n")).not.toContain("Bearer");
    await runtime.post("unload", { lora_name: "moved" });
  });

  test("a redirect to the metadata server is not", async () => {
    await runtime.load("meta", `${web.url}/metadata/x.tar.gz`);
    expect((await runtime.failed("meta", "ArtifactNotAllowed")).message).toMatch(
      /^169\.254\.169\.254 is an address.*--allow-artifact-hosts/,
    );
  });
});

describe("a pin", () => {
  test("is the archive's hash, or the content's digest; another one is final", async () => {
    const url = `${web.url}/a.tar.gz`;
    await runtime.load("pin-archive", `${url}#sha256=${sha256(world.path("web/www/a.tar.gz"))}`);
    const { content_digest: digest = "" } = await serves("pin-archive");
    await runtime.post("unload", { lora_name: "pin-archive" });
    const pin = digest.replace("sha256:", "");
    const gone = "f".repeat(64);
    const rows = [url, `gs://models/adapters/sql`, world.path("plain/adapter")];
    for (const [i, place] of rows.entries()) {
      await runtime.load(`pinned-${i}`, `${place}#sha256=${pin}`);
      await runtime.serves(`pinned-${i}`);
      await runtime.post("unload", { lora_name: `pinned-${i}` });
      await runtime.load(`other-${i}`, `${place}#sha256=${gone}`);
      const failed = await runtime.failed(`other-${i}`, "ArtifactInvalid");
      expect(failed).toMatchObject({ retryable: false, serving: null, message: expect.stringContaining(`has the digest ${digest}`) });
      expect(failed.next_retry_time).toBeUndefined();
    }
  });
});

describe("Google Cloud Storage", () => {
  test.each(["gs://models/adapters/sql", "gcs://models/adapters/sql/"])("%s", async (url) => {
    const name = url.startsWith("gcs") ? "gcs" : "gs";
    await runtime.load(name, url);
    await serves(name);
    await runtime.post("unload", { lora_name: name });
  });

  test.each([
    { name: "gs-no-bucket", url: "gs://nothing/adapters", says: /bucket "nothing" does not exist/ },
    { name: "gs-no-prefix", url: "gs://models/none", says: /no objects under gs:\/\/models\/none\// },
  ])("tells $name", async ({ name, url, says }) => {
    await runtime.load(name, url);
    expect((await runtime.failed(name, "ArtifactNotFound")).message).toMatch(says);
  });
});

test("an S3 object with a sha256 is compared with it", async () => {
  const config = readFileSync(world.path("plain/adapter/adapter_config.json"));
  const weights = readFileSync(world.path("plain/adapter/adapter_model.safetensors"));
  await s3.put("models", "summed/adapter_config.json", config, "SHA256");
  await s3.put("models", "summed/adapter_model.safetensors", weights, "SHA256");
  const answer = await fetch(`${runtime.url}/v1/lora_adapter/check`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ artifact_url: "s3://models/summed", credentials: s3.secret }),
  });
  const { files } = (await answer.json()) as { readonly files: readonly { readonly name: string; readonly sha256?: string }[] };
  expect(files.find((f) => f.name === "adapter_model.safetensors")?.sha256).toBe(createHash("sha256").update(weights).digest("hex"));
});

test.each(["CRC64NVME", "CRC32C", "CRC32", "SHA1", "SHA256"] as const)(
  "S3: an object that is not what its %s says never reaches the engine",
  async (kind) => {
    const folder = `wrong-${kind.toLowerCase()}`;
    const config = readFileSync(world.path("plain/adapter/adapter_config.json"));
    const weights = readFileSync(world.path("plain/adapter/adapter_model.safetensors"));
    await s3.put("models", `${folder}/adapter_config.json`, config);
    const key = `${folder}/adapter_model.safetensors`;
    // Those that count only where the ETag is no hash are of an upload in parts.
    if (kind === "CRC64NVME" || kind === "CRC32C") await s3.putParts("models", key, [weights], kind);
    else await s3.put("models", key, weights, kind);
    const credentials = s3.secret;
    const load = (name: string) => runtime.load(name, `s3://models/${folder}`, { credentials });
    // The disk of the storage lost a bit: size, ETag and checksum are as they were.
    const stored = world.path(`s3/data/models/${folder}/adapter_model.safetensors`);
    writeFileSync(stored, weights.with(-1, (weights.at(-1) ?? 0) ^ 1));
    await load(folder);
    expect((await runtime.failed(folder, "ArtifactInvalid")).message).toMatch(new RegExp(`its ${kind.toLowerCase()} is`));
    writeFileSync(stored, weights);
    await load(folder);
    await runtime.serves(folder);
    await runtime.post("unload", { lora_name: folder });
  },
);

test("an endpoint in the operator's AWS profile, with the profile's keys", async () => {
  await s3.putFolder("models", "profile", world.path("plain/adapter"));
  const profile = `[default]
region = us-east-1
endpoint_url = ${s3.endpoint}
aws_access_key_id = ${s3.accessKeyId}
aws_secret_access_key = ${s3.secretAccessKey}
`;
  await writeFile(world.path("aws-config"), profile);
  const own = await world.runtime(engine.url, {
    args: [`--artifacts-dir=${world.path("profile")}`],
    env: { AWS_CONFIG_FILE: world.path("aws-config"), AWS_SHARED_CREDENTIALS_FILE: world.path("none"), AWS_ENDPOINT_URL: "" },
  });
  await own.load("profile", "s3://models/profile");
  await own.serves("profile");
  // What a Secret names is no affair of the profile's keys.
  await own.load("stranger", "s3://models/profile", { credentials: { aws_endpoint_url: "http://10.255.255.1:9000" } });
  expect((await own.failed("stranger", "ArtifactDenied")).message).toMatch(/no AWS credentials/);
  await own.program.stop();
});

test("a folder of a repository", async () => {
  await runtime.load("sub", "hf://acme/many/sub/one");
  expect((await serves("sub", world.path("hub/acme/many/sub/one"))).resolved_revision).toMatch(/^[0-9a-f]{40}$/);
  await runtime.post("unload", { lora_name: "sub" });
  await runtime.load("no-sub", "hf://acme/many/none");
  expect((await runtime.failed("no-sub", "ArtifactNotFound")).message).toMatch(/no folder "none"/);
});

describe("without the operator's leave", () => {
  let guarded: Runtime;
  beforeAll(async () => {
    guarded = await world.runtime(engine.url, {
      args: ["--allow-artifact-hosts=", `--artifacts-dir=${world.path("guarded")}`],
      env: { HF_ENDPOINT: hub.url },
    });
  });

  test.each([
    { name: "g-web", url: () => `${web.url}/a.tar.gz`, credentials: () => ({}) },
    { name: "g-name", url: () => `http://localhost:${web.port}/a.tar.gz`, credentials: () => ({}) },
    { name: "g-six", url: () => `http://[::1]:${web.port}/a.tar.gz`, credentials: () => ({}) },
    { name: "g-number", url: () => `http://2130706433:${web.port}/a.tar.gz`, credentials: () => ({}) },
    { name: "g-s3", url: () => "s3://models/adapters/sql", credentials: () => s3.secret },
  ])("$name is refused, and nobody is asked", async ({ name, url, credentials }) => {
    const before = (await web.log()).length;
    await guarded.load(name, url(), { credentials: credentials() });
    const failed = await guarded.failed(name, "ArtifactNotAllowed");
    expect(failed).toMatchObject({ retryable: false, message: expect.stringContaining("--allow-artifact-hosts") });
    expect((await web.log()).length).toBe(before);
  });

  test("the operator's own Hub is asked all the same", async () => {
    await guarded.load("g-hub", "hf://acme/many");
    await guarded.serves("g-hub");
    await guarded.post("unload", { lora_name: "g-hub" });
    await guarded.gone("g-hub");
  });
});

test("a certificate of an unknown authority is told with the remedy", async () => {
  const strict = await world.runtime(engine.url, { args: [`--artifacts-dir=${world.path("strict")}`] });
  await strict.load("untrusted", `${secure.url}/a.tar.gz`);
  const web = await strict.failed("untrusted", "ArtifactUnavailable");
  expect(web.message).toMatch(
    /is not trusted for https:.*DEPTH_ZERO_SELF_SIGNED_CERT: name a file with that authority in NODE_EXTRA_CA_CERTS/,
  );
  expect(web.cause).toBe("DEPTH_ZERO_SELF_SIGNED_CERT");
  await strict.load("bucket", "s3://models/x", { credentials: { ...s3.secret, aws_endpoint_url: secure.url } });
  expect((await strict.failed("bucket", "ArtifactUnavailable")).message).toMatch(/is not trusted for s3:.*NODE_EXTRA_CA_CERTS/);
  await strict.program.stop();
});

describe("behind a proxy", () => {
  let proxy: Server;
  const asked: string[] = [];
  let proxied: Runtime;
  beforeAll(async () => {
    // Carries what it is asked for to the servers of this test, whatever the name.
    proxy = createServer((request, response) => {
      const url = new URL(request.url ?? "");
      asked.push(`${request.method} ${url.host}`);
      const to = url.hostname === "s3.example.test" ? s3.endpoint : web.url;
      const outgoing = forward(
        new URL(url.pathname + url.search, to),
        { method: request.method ?? "GET", headers: request.headers },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        },
      );
      request.pipe(outgoing);
    });
    proxy.on("connect", (request, socket) => {
      asked.push(`CONNECT ${request.url}`);
      const target = connect(secure.port, "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        target.pipe(socket);
        socket.pipe(target);
      });
      target.on("error", () => socket.destroy());
      socket.on("error", () => target.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    proxied = await world.runtime(engine.url, {
      args: [`--artifacts-dir=${world.path("proxied")}`],
      env: {
        HTTP_PROXY: url,
        HTTPS_PROXY: url,
        NO_PROXY: "127.0.0.1,localhost",
        HF_ENDPOINT: hub.url,
        NODE_EXTRA_CA_CERTS: world.path("cert.pem"),
      },
    });
  });
  afterAll(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  test("archives, S3 and TLS go by it, and what NO_PROXY names does not", async () => {
    await proxied.load("p-web", "http://files.example.test/a.tar.gz");
    await proxied.serves("p-web");
    await proxied.load("p-s3", "s3://models/adapters/sql", { credentials: { ...s3.secret, aws_endpoint_url: "http://s3.example.test" } });
    await proxied.serves("p-s3");
    // The certificate is for another name: that it comes to that shows the tunnel.
    await proxied.load("p-tls", "https://secure.example.test/a.tar.gz");
    expect(await proxied.failed("p-tls", "ArtifactUnavailable")).toMatchObject({
      message: expect.stringMatching(/not trusted.*for another name, ERR_TLS_CERT_ALTNAME_INVALID/),
      cause: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
    await proxied.load("p-hub", "hf://acme/many");
    await proxied.serves("p-hub");
    expect(new Set(asked)).toEqual(
      new Set([
        "HEAD files.example.test",
        "GET files.example.test",
        "GET s3.example.test",
        "HEAD s3.example.test",
        "CONNECT secure.example.test:443",
      ]),
    );
  });
});

test("the annotation of a Secret in the adapters folder is heeded", async () => {
  const follower = await world.follower(engine.url, { args: [`--artifacts-dir=${world.path("followed")}`] });
  const manifest = (annotations: object) =>
    [
      { apiVersion: "v1", kind: "Secret", metadata: { name: "web", annotations }, stringData: { http_bearer_token: TOKEN } },
      {
        apiVersion: "model.aibrix.ai/v1alpha1",
        kind: "ModelAdapter",
        metadata: { name: "annotated" },
        spec: {
          podSelector: { matchLabels: { "model.aibrix.ai/name": "qwen-coder-1-5b-instruct" } },
          artifactURL: `${web.url}/token/a.tar.gz`,
          credentialsSecretRef: { name: "web" },
        },
      },
    ]
      .map((o) => JSON.stringify(o))
      .join("\n---\n");
  await writeFile(join(world.manifests, "a.yaml"), manifest({}));
  await follower.failed("annotated", "ArtifactNotAllowed");
  await writeFile(join(world.manifests, "a.yaml"), manifest(ALLOWED));
  await follower.serves("annotated");
});

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { run } from "../../src/parts/run.ts";

const OCI = "application/vnd.oci.image";

/** Pushes an image of one static program to a registry, as any builder of images does: its blobs, then the manifest. */
export async function pushImage(registry: string, name: string, tag: string, program: string, signal: AbortSignal): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "aibrix-push-"));
  try {
    await run({ argv: ["tar", "-cf", join(dir, "layer.tar"), "-C", dirname(program), basename(program)] }, signal);
    const layer = await readFile(join(dir, "layer.tar"));
    const config = {
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Entrypoint: [`/${basename(program)}`] },
      rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: await pushBlob(registry, name, Buffer.from(JSON.stringify(config)), `${OCI}.config.v1+json`, signal),
      layers: [await pushBlob(registry, name, layer, `${OCI}.layer.v1.tar`, signal)],
    };
    await send(`${registry}/v2/${name}/manifests/${tag}`, "PUT", Buffer.from(JSON.stringify(manifest)), manifest.mediaType, signal);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function pushBlob(registry: string, name: string, blob: Buffer, mediaType: string, signal: AbortSignal): Promise<object> {
  const begun = await send(`${registry}/v2/${name}/blobs/uploads/`, "POST", Buffer.alloc(0), "application/octet-stream", signal);
  const upload = new URL(begun.headers.get("location") ?? "", registry);
  upload.searchParams.set("digest", digestOf(blob));
  await send(upload.href, "PUT", blob, "application/octet-stream", signal);
  return { mediaType, digest: digestOf(blob), size: blob.byteLength };
}

async function send(url: string, method: string, body: Buffer, type: string, signal: AbortSignal): Promise<Response> {
  const answer = await fetch(url, { method, body: new Uint8Array(body), headers: { "content-type": type }, signal });
  if (!answer.ok) throw new Error(`${method} ${url} answered ${answer.status}: ${await answer.text()}`);
  return answer;
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureVersitygw } from "@aibrix/devcluster";
import { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { afterAll, expect, onTestFinished, test, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { devServices, freePort, type Program, start, statusOf } from "./support/program.ts";

const dir = mkdtempSync(join(tmpdir(), "aibrix-dev-services-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const soon = { timeout: 60_000, interval: 50 };

/** Ends a program with the test. */
function kept(program: Program): Program {
  onTestFinished(async () => void (await program.stop()));
  return program;
}

const OVERLAY = fileURLToPath(new URL("../../../deploy/overlays/dev/", import.meta.url));

/** A container's arguments in the overlay dev. */
function argsIn(file: string, container: string): readonly string[] {
  const objects = parseAllDocuments(readFileSync(join(OVERLAY, file), "utf8")).map((d) => d.toJS());
  const { spec } = objects.find((o) => o.kind === "Deployment").spec.template;
  return spec.containers.find((c: { readonly name: string }) => c.name === container).args;
}

async function digestOf(url: string): Promise<string> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  expect([url, answer.status]).toEqual([url, 200]);
  return createHash("sha256")
    .update(Buffer.from(await answer.arrayBuffer()))
    .digest("hex");
}

test.each([
  { args: ["hubb"], code: 2, says: "no command hubb" },
  { args: ["--help"], code: 0, says: "s3-content" },
  { args: ["hub", "--help"], code: 0, says: "--bind-address" },
  { args: ["s3-content", "--endpoint=s3"], code: 2, says: "write a URL" },
  { args: ["s3-content"], code: 2, says: "AWS_ACCESS_KEY_ID" },
])("aibrix_dev_services $args ends with $code and says $says", async ({ args, code, says }) => {
  const program = kept(devServices(args));
  expect(await program.ended).toBe(code);
  expect(program.output()).toContain(says);
});

test("the Hub has both repositories, with the same bytes every time", async () => {
  const files = [
    "ai-blond/Qwen-Qwen2.5-Coder-1.5B-Instruct-lora/resolve/main/adapter_model.safetensors",
    "Qwen/Qwen2.5-Coder-1.5B-Instruct/resolve/main/model.safetensors",
  ];
  const digests = await Promise.all(
    ["hub-1", "hub-2"].map(async (name) => {
      const port = await freePort();
      const args = argsIn("hub.yaml", "hub").map((a) => a.replace("/tmp/hub", join(dir, name)).replace(/=:8080$/, `=127.0.0.1:${port}`));
      const hub = devServices(args);
      try {
        await vi.waitFor(() => expect(hub.output()).toContain("listening"), soon);
        return await Promise.all(files.map((file) => digestOf(`http://127.0.0.1:${port}/${file}`)));
      } finally {
        expect(await hub.stop()).toBe(0);
      }
    }),
  );
  expect(new Set(digests[0]).size).toBe(2);
  expect(digests[1]).toEqual(digests[0]);
});

test("an S3 server that comes later is filled, and found filled by the next one", async () => {
  const { bin } = await ensureVersitygw({ log: () => undefined, signal: AbortSignal.timeout(600_000) });
  const [port, healthPort] = [await freePort(), await freePort()];
  const endpoint = `http://127.0.0.1:${port}`;
  const keys = { AWS_ACCESS_KEY_ID: "one", AWS_SECRET_ACCESS_KEY: "its-secret" };
  const args = argsIn("s3.yaml", "content").map((a) =>
    a.replace("127.0.0.1:7070", `127.0.0.1:${port}`).replace(/=:8081$/, `=127.0.0.1:${healthPort}`),
  );
  const content = devServices(args, keys);
  await vi.waitFor(async () => expect(await statusOf(`http://127.0.0.1:${healthPort}/healthz`)).toBe(200), soon);
  expect(await statusOf(`http://127.0.0.1:${healthPort}/readyz`)).toBe(503);

  for (const folder of ["objects", "metadata"]) mkdirSync(join(dir, folder));
  const root = { ROOT_ACCESS_KEY: "one", ROOT_SECRET_KEY: "its-secret" };
  const server = argsIn("s3.yaml", "s3").map((a) => a.replace(/^:7070$/, `127.0.0.1:${port}`).replace(/^\/data/, dir));
  kept(start(bin, server, root));
  await vi.waitFor(async () => expect(await statusOf(`http://127.0.0.1:${healthPort}/readyz`)).toBe(200), soon);
  expect(await objects(endpoint)).toEqual(["adapters/sql-lora/adapter_config.json", "adapters/sql-lora/adapter_model.safetensors"]);
  expect(await content.stop()).toBe(0);
  expect(content.output()).not.toContain("its-secret");

  const again = devServices(args, keys);
  await vi.waitFor(async () => expect(await statusOf(`http://127.0.0.1:${healthPort}/readyz`)).toBe(200), soon);
  expect(await again.stop()).toBe(0);

  const denied = kept(devServices(args, { ...keys, AWS_SECRET_ACCESS_KEY: "wrong" }));
  expect(await denied.ended).toBe(1);
  expect(denied.output()).toContain("SignatureDoesNotMatch");
});

async function objects(endpoint: string): Promise<string[]> {
  const credentials = { accessKeyId: "one", secretAccessKey: "its-secret" };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: "models" }));
  client.destroy();
  return Contents.flatMap(({ Key = [] }) => Key);
}

test("an S3 server that never comes ends it, with what to look at", async () => {
  const port = await freePort();
  const args = ["s3-content", `--endpoint=http://127.0.0.1:${port}`, "--wait-seconds=1", "--health-probe-bind-address=0"];
  const program = kept(devServices(args, { AWS_ACCESS_KEY_ID: "one", AWS_SECRET_ACCESS_KEY: "two" }));
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain(`no S3 server answered at http://127.0.0.1:${port} within 1 s`);
});

test("it ends at once when it is asked to while it waits", async () => {
  const healthPort = await freePort();
  const args = ["s3-content", `--endpoint=http://127.0.0.1:${await freePort()}`, `--health-probe-bind-address=127.0.0.1:${healthPort}`];
  const program = kept(devServices(args, { AWS_ACCESS_KEY_ID: "one", AWS_SECRET_ACCESS_KEY: "two" }));
  await vi.waitFor(async () => expect(await statusOf(`http://127.0.0.1:${healthPort}/healthz`)).toBe(200), soon);
  expect(await program.stop()).toBe(0);
});

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { copyProgram, writeRootFiles } from "../src/images/closure.ts";
import { ensureImages, writeArchive } from "../src/images/ensure-images.ts";
import type { Descriptor } from "../src/images/oci/types.ts";
import type { ImageSpec } from "../src/images/spec.ts";
import { launcher } from "../src/images/vllm-image.ts";
import { ensureRegistry } from "../src/kubernetes/node/programs.ts";
import { findOnPath } from "../src/parts/find.ts";
import { run } from "../src/parts/run.ts";

// A real registry. Images of files need no builder; those of the Dockerfile are built where a cluster is tested.
const signal = AbortSignal.timeout(300_000);
let dir: string;
let registry: ChildProcess;
let url: string;
let log: string[] = [];
const context = { log: (line: string) => log.push(line), signal };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "images-"));
  const program = await ensureRegistry({ log: (line) => console.log(line), signal });
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const config = { version: "0.1", storage: { filesystem: { rootdirectory: join(dir, "registry") } }, http: { addr: `127.0.0.1:${port}` } };
  await writeFile(join(dir, "registry.json"), JSON.stringify(config));
  registry = spawn(program, ["serve", join(dir, "registry.json")], { stdio: "ignore" });
  await vi.waitFor(async () => expect((await fetch(`${url}/v2/`)).status).toBe(200), { timeout: 20_000, interval: 50 });
}, 300_000);

afterAll(async () => {
  registry.kill("SIGKILL");
  await once(registry, "exit");
  await rm(dir, { recursive: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

/** An image of the program `env` and a file. */
function greeting(text: string): ImageSpec {
  return {
    name: "greeting",
    references: ["test/greeting:v1", "test/greeting:dev"],
    source: {
      kind: "files",
      config: { User: "65532:65532", Entrypoint: ["/usr/bin/env"] },
      plan: async () => ({
        key: text,
        stage: async (root) => {
          await writeRootFiles(root);
          await copyProgram((await findOnPath("env")) ?? "", root, "/usr/bin/env", signal);
          await writeFile(join(root, "greeting"), text);
          return [{ from: root, to: "/" }];
        },
      }),
    },
  };
}

const options = () => ({ ...context, cacheDir: join(dir, "cache") });
const pushed = () => log.filter((line) => line.startsWith("pushed"));

test("an image is made and pushed once, and again when its content changes", async () => {
  log = [];
  const [first] = await ensureImages([greeting("hello")], url, options());
  expect(pushed()).toHaveLength(2);
  expect(await (await fetch(`${url}/v2/test/greeting/tags/list`)).json()).toMatchObject({ tags: expect.arrayContaining(["v1", "dev"]) });

  log = [];
  expect(await ensureImages([greeting("hello")], url, options())).toEqual([first]);
  expect(log).toEqual([]);

  const [second] = await ensureImages([greeting("goodbye")], url, options());
  expect(second?.digest).not.toBe(first?.digest);
  const head = await fetch(`${url}/v2/test/greeting/manifests/v1`, {
    method: "HEAD",
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  expect(head.headers.get("docker-content-digest")).toBe(second?.digest);
});

test("what is pulled is what was put in: files, root's, a program with its libraries that runs", async () => {
  await ensureImages([greeting("hello")], url, options());
  const manifest = await fetch(`${url}/v2/test/greeting/manifests/dev`, {
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  const { layers, config } = (await manifest.json()) as { layers: Descriptor[]; config: Descriptor };
  const blob = async ({ digest }: Descriptor) => Buffer.from(await (await fetch(`${url}/v2/test/greeting/blobs/${digest}`)).arrayBuffer());
  expect(JSON.parse((await blob(config)).toString()).config).toEqual({ User: "65532:65532", Entrypoint: ["/usr/bin/env"] });
  const root = join(dir, "root");
  await mkdir(root);
  for (const layer of layers) {
    await writeFile(join(dir, "layer.tar"), await blob(layer));
    await run({ argv: ["tar", "-xpf", join(dir, "layer.tar"), "-C", root] }, signal);
  }
  expect(await readFile(join(root, "greeting"), "utf8")).toBe("hello");
  expect((await stat(root)).mode & 0o777).toBe(0o755);
  expect((await stat(join(root, "tmp"))).mode & 0o7777).toBe(0o1777);
  const loader = (await run({ argv: ["find", root, "-name", "ld-linux*"] }, signal)).trim();
  const libraries = (await run({ argv: ["find", root, "-name", "libc.so.6", "-printf", "%h"] }, signal)).trim();
  expect(await run({ argv: [loader, "--library-path", libraries, join(root, "usr/bin/env"), "-i", "A=b"] }, signal)).toBe("A=b\n");
});

test("an archive names the images as manifests do", async () => {
  const ready = await ensureImages([greeting("hello")], undefined, options());
  const archive = join(dir, "images.tar");
  await writeArchive(ready, archive, context);
  const index = JSON.parse(await run({ argv: ["tar", "-xOf", archive, "./index.json"] }, signal));
  expect(index.manifests.map((each: Descriptor) => [each.digest, each.annotations?.["io.containerd.image.name"]])).toEqual([
    [ready[0]?.digest, "docker.io/test/greeting:v1"],
    [ready[0]?.digest, "docker.io/test/greeting:dev"],
  ]);
});

test("a registry that is not there is named", async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  await expect(ensureImages([greeting("hello")], nobody, options())).rejects.toThrow(`HEAD ${nobody}/v2/test/greeting/manifests/v1: `);
});

test("vLLM's launcher adds what a command line lacks, and nothing to other commands", async () => {
  const echo = join(dir, "python3");
  const text = launcher()
    .replace(/^#!.*/, "#!/usr/bin/env -S python3 -I")
    .replace(/^PYTHON = .*/m, 'PYTHON = "/bin/echo"');
  await writeFile(echo, text, { mode: 0o755 });
  const server = "-m vllm.entrypoints.openai.api_server";
  const given = `${server} --port 1 --max_loras=5 --dtype bfloat16`;
  expect(await run({ argv: [echo, ...given.split(" ")] }, signal)).toBe(
    `${given} --distributed-executor-backend uni --enforce-eager --max-num-seqs 8 --kv-cache-memory-bytes 4194304 --max-cpu-loras 3 --max-lora-rank 8 --max-model-len 2048\n`,
  );
  expect(await run({ argv: [echo, "-c", "1"] }, signal)).toBe("-c 1\n");
});

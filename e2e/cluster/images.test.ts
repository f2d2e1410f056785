// The images that the cluster was given: small, for a user of a number, with one program and nothing to install others with.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { ENGINE } from "../support/cli.ts";
import { Platform } from "../support/platform.ts";

const MAX_BYTES = 200_000_000;
const MANIFESTS = ["index.v1", "manifest.v1"].map((type) => `application/vnd.oci.image.${type}+json`).join(", ");
/** Files that install or start something else. */
const TOOLS = /(^|\/)(npm|npx|pnpm|yarn|corepack|apt|apt-get|dpkg|apk|pip3?|bash|dash|sh)$/;

interface Manifest {
  readonly manifests?: readonly { readonly digest: string }[];
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly mediaType: string }[];
}

interface Case {
  readonly name: string;
  /** Its name in the cluster's registry, where that is another. */
  readonly at?: string;
  readonly tag?: string;
  readonly command: string;
}

test.for<Case>([
  { name: "controller-manager", command: "aibrix_controller_manager" },
  { name: "gateway-plugins", command: "aibrix_gateway_plugins" },
  { name: "runtime", command: "aibrix_runtime" },
  // The cluster has it under the name of vLLM's image: as it is, and a few links besides.
  ...(ENGINE === "mock" ? [{ name: "mock-engine", at: "vllm/vllm-openai", tag: "v0.7.1", command: "aibrix_mock_engine" }] : []),
])(
  "aibrix/$name: under 200 MB, a user of a number, $command on PATH, no shell and no package manager",
  async ({ name, at: repository = `aibrix/${name}`, tag = "dev", command }, { skip }) => {
    const { registry } = Platform.get();
    if (registry === undefined) return skip("this cluster has its images from elsewhere");
    const at = async (path: string) => {
      const answer = await fetch(`${registry}/v2/${repository}/${path}`, { headers: { accept: MANIFESTS } });
      expect(answer.status, path).toBe(200);
      return answer;
    };
    const manifest = async (reference: string) => (await (await at(`manifests/${reference}`)).json()) as Manifest;
    let found = await manifest(tag);
    if (found.manifests !== undefined) found = await manifest(found.manifests[0]?.digest ?? "");
    const { config } = (await (await at(`blobs/${found.config.digest}`)).json()) as { config: { User?: string; Env?: readonly string[] } };
    expect(config.User).toMatch(/^[1-9]\d*(:[1-9]\d*)?$/);
    const files: { readonly path: string; readonly bytes: number }[] = [];
    for (const { digest, mediaType } of found.layers) files.push(...(await listed(await at(`blobs/${digest}`), mediaType)));
    expect(files.map(({ path }) => path).filter((path) => TOOLS.test(path))).toEqual([]);
    expect(files.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(MAX_BYTES);
    const onPath = (config.Env?.find((e) => e.startsWith("PATH=")) ?? "PATH=/usr/local/bin").slice(5).split(":");
    expect(onPath.filter((dir) => files.some(({ path }) => `/${path}` === `${dir}/${command}`))).toHaveLength(1);
  },
);

/** What a layer holds, by tar. */
async function listed(layer: Response, mediaType: string): Promise<{ readonly path: string; readonly bytes: number }[]> {
  const [, compression] = mediaType.split("+");
  const tar = spawn("tar", ["--list", "--verbose", ...(compression === undefined ? [] : [`--${compression}`]), "--file=-"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const out: { path: string; bytes: number }[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: tar.stdout })) {
      const [, , bytes = "", , , path = ""] = line.split(/\s+/);
      out.push({ path: path.replace(/^\.?\//, ""), bytes: Number(bytes) });
    }
  })();
  await pipeline(Readable.fromWeb(layer.body as never), tar.stdin);
  const [code] = tar.exitCode === null ? await once(tar, "exit") : [tar.exitCode];
  expect(code).toBe(0);
  await reading;
  return out;
}

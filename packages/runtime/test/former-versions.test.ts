import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeAdapter } from "@aibrix/devcluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Front, startFront } from "./support/front.ts";
import { stopPrograms } from "./support/program.ts";
import { type S3, startS3 } from "./support/s3.ts";
import { type Gcs, startGcs } from "./support/servers.ts";
import { type Runtime, World } from "./support/world.ts";

/*
 * A pod that comes after the files of a bucket were overwritten: it gets the content that was decided on before, from a bucket that keeps versions.
 */

const FILES = ["adapter_config.json", "adapter_model.safetensors"];
const world = new World();
let s3: S3;
let front: Front;
let gcs: Gcs;

beforeAll(async () => {
  for (const seed of [1, 2]) await writeAdapter(world.path(String(seed)), { seed });
  [s3, gcs] = await Promise.all([startS3(world.path("s3")), startGcs({ versions: true })]);
  front = await startFront(s3.endpoint);
});
afterAll(async () => {
  await stopPrograms();
  await front?.close();
  await Promise.allSettled([s3?.close(), gcs?.close()]);
  world.remove();
});

let pods = 0;
/** A runtime that has fetched nothing yet, with an engine of its own. */
async function newPod(): Promise<Runtime> {
  pods += 1;
  const engine = await world.engine();
  return await world.runtime(engine.url, {
    args: [`--artifacts-dir=${world.path(`pod-${pods}`)}`],
    env: { STORAGE_EMULATOR_HOST: gcs.endpoint },
  });
}

const KINDS = [
  {
    kind: "S3",
    url: (folder: string) => `s3://models/${folder}`,
    put: (folder: string, seed: string) => s3.putFolder("models", folder, world.path(seed)),
    keepVersions: () => s3.keepVersions("models"),
    removeAll: (folder: string) => s3.removeAll("models", folder),
    forget: (folder: string) => s3.forget("models", `${folder}/adapter_model.safetensors`),
    credentials: () => ({ credentials: s3.secret }),
  },
  {
    kind: "GCS",
    url: (folder: string) => `gs://models/${folder}`,
    put: (folder: string, seed: string) => gcs.putFolder(folder, world.path(seed)),
    keepVersions: async () => undefined,
    removeAll: (folder: string) => gcs.removeAll(folder),
    forget: (folder: string) => gcs.forget(`${folder}/adapter_model.safetensors`),
    credentials: () => ({}),
  },
];

describe.each(KINDS)("$kind", (bucket) => {
  /** The content that a pod which came first has found, and what it is called there. */
  async function decided(name: string) {
    const pod = await newPod();
    await pod.load(name, bucket.url(name), bucket.credentials());
    const { serving, resolved_revision: revision } = await pod.serves(name);
    return { digest: serving?.content_digest ?? "", revision };
  }

  async function joins(name: string, content: object): Promise<Runtime> {
    const pod = await newPod();
    await pod.load(name, bucket.url(name), { ...bucket.credentials(), content });
    return pod;
  }

  async function getsTheFirst(name: string, content: Awaited<ReturnType<typeof decided>>) {
    const status = await (await joins(name, content)).serves(name);
    expect([status.serving?.content_digest, status.resolved_revision]).toEqual([content.digest, content.revision]);
    for (const file of FILES)
      expect(readFileSync(join(status.serving?.path ?? "", file)).equals(readFileSync(join(world.path("1"), file)))).toBe(true);
  }

  test("overwritten, and removed, it is found among the versions; only a version that is gone is not", async () => {
    await bucket.keepVersions();
    await bucket.put("kept", "1");
    const content = await decided("kept");
    expect(content.revision).toMatch(/^files:[0-9a-f]{8},[0-9a-f]{8}$/);
    await bucket.put("kept", "2");
    expect((await decided("kept")).digest).not.toBe(content.digest);
    await getsTheFirst("kept", content);
    await bucket.removeAll("kept");
    await getsTheFirst("kept", content);
    await bucket.put("kept", "2");
    await bucket.forget("kept");
    await bucket.put("kept", "2");
    const { message } = await (await joins("kept", content)).failed("kept", "ArtifactChanged");
    expect(message).toMatch(/its bucket gave no former version .*adapter\.model\.aibrix\.ai\/refresh/);
  });

  test("the same bytes once more are the same content, whatever they are called now", async () => {
    await bucket.put("again", "1");
    const { digest } = await decided("again");
    const pod = await joins("again", { digest, revision: "files:01234567" });
    expect((await pod.serves("again")).serving?.content_digest).toBe(digest);
  });
});

test.each([
  { name: "that these credentials may not see", status: 403, code: "AccessDenied" },
  { name: "that the server does not know of", status: 501, code: "NotImplemented" },
])("versions $name are none, and that ends it", async ({ status, code }) => {
  const folder = `refused-${status}`;
  let asked = 0;
  await s3.putFolder("models", folder, world.path("1"));
  front.rule = ({ url = "" }) => {
    if (!/[?&]versions(=|&|$)/.test(url)) return undefined;
    asked += 1;
    return (answer) => answer.writeHead(status).end(`<Error><Code>${code}</Code><Message>no</Message></Error>`);
  };
  const call = { credentials: { ...s3.secret, aws_endpoint_url: front.url } };
  const first = await newPod();
  await first.load("x", `s3://models/${folder}`, call);
  const { serving, resolved_revision: revision } = await first.serves("x");
  await s3.putFolder("models", folder, world.path("2"));
  const pod = await newPod();
  await pod.load("x", `s3://models/${folder}`, { ...call, content: { digest: serving?.content_digest, revision } });
  expect(await pod.failed("x", "ArtifactChanged")).toMatchObject({ retryable: false });
  expect(asked).toBe(1);
});

test("versions that these credentials may not read are none either", async () => {
  await s3.keepVersions("models");
  await s3.putFolder("models", "unread", world.path("1"));
  let asked = 0;
  front.rule = ({ url = "" }) => {
    if (!/[?&]versionId=/.test(url)) return undefined;
    asked += 1;
    return (answer) => answer.writeHead(403).end("<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
  };
  const call = { credentials: { ...s3.secret, aws_endpoint_url: front.url } };
  const first = await newPod();
  await first.load("x", "s3://models/unread", call);
  const { serving, resolved_revision: revision } = await first.serves("x");
  await s3.putFolder("models", "unread", world.path("2"));
  const pod = await newPod();
  await pod.load("x", "s3://models/unread", { ...call, content: { digest: serving?.content_digest, revision } });
  // Not that the credentials are refused: what is there now they may read.
  expect(await pod.failed("x", "ArtifactChanged")).toMatchObject({ retryable: false });
  expect(asked).toBe(1);
});

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeploymentManifest, type Manifest, ManifestPlane, manifestsOf } from "./support/manifest-plane.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** What is applied together: a base model and an adapter for it. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  adapter: ["adapter/base.yaml", "adapter/adapter.yaml"],
  "adapter with a key": ["adapter/base-with-key.yaml", "adapter/adapter-with-key.yaml"],
  s3: ["s3/base.yaml", "s3/adapter.yaml"],
  "base model": ["base-model/base.yaml", "base-model/adapter.yaml"],
  "shared path": ["shared-path/base.yaml", "shared-path/adapter.yaml"],
  "node cache": ["node-cache/base.yaml", "node-cache/adapter.yaml"],
  direct: ["direct/base.yaml", "direct/adapter.yaml"],
};

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function objects(files: readonly string[]): readonly Manifest[] {
  return files.flatMap((file) => manifestsOf(read(`samples/${file}`)));
}

function find(all: readonly Manifest[], kind: string): Manifest {
  const found = all.find((m) => m.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
}

test("every file is part of a sample", () => {
  const files = readdirSync(join(ROOT, "samples"), { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".yaml"));
  expect(files.sort()).toEqual([...Object.values(SAMPLES).flat(), "network-policies/engines.yaml"].sort());
});

describe.each(Object.entries(SAMPLES))("%s", (_, files) => {
  test("the adapter chooses the pods of the base model, by the name that its Service has", () => {
    const all = objects(files);
    const base = find(all, "Deployment") as DeploymentManifest;
    const { name } = base.metadata;
    const adapter = find(all, "ModelAdapter") as Manifest & { readonly spec: Readonly<Record<string, unknown>> };
    expect(base.spec.template.metadata.labels).toEqual({ "model.aibrix.ai/name": name });
    expect(adapter.spec).toMatchObject({ baseModel: name, podSelector: { matchLabels: { "model.aibrix.ai/name": name } } });
    expect(find(all, "Service")).toMatchObject({ metadata: { name }, spec: { selector: { "model.aibrix.ai/name": name } } });
    expect(adapter.metadata.labels).toMatchObject({ "model.aibrix.ai/name": adapter.metadata.name });
  });
});

test("samples run side by side, but for the one that says that it takes another's place", () => {
  const names = Object.values(SAMPLES).flatMap((files) => objects(files).map((m) => `${m.kind} ${m.metadata.name}`));
  const twice = names.filter((name, i) => names.indexOf(name) < i);
  expect(twice).toEqual(["Deployment qwen-coder-1-5b-instruct", "Service qwen-coder-1-5b-instruct"]);
  expect(read("samples/adapter/base-with-key.yaml")).toContain("takes that one's place");
});

test("the adapter's key is the one that the engine asks for", () => {
  const [, , , adapter] = objects(["adapter/base-with-key.yaml", "adapter/adapter-with-key.yaml"]);
  const key = (find(objects(["adapter/base-with-key.yaml"]), "Secret").stringData as Record<string, string>)["api-key"];
  expect(adapter?.spec).toMatchObject({ additionalConfig: { "api-key": key } });
});

test("the sample for S3 fits the S3 server of the overlay dev", () => {
  const dev = manifestsOf(read("deploy/overlays/dev/s3.yaml"));
  const { aws_access_key_id, aws_secret_access_key } = find(dev, "Secret").stringData as Record<string, string>;
  const { metadata, spec } = find(dev, "Service") as Manifest & { readonly spec: { readonly ports: readonly { readonly port: number }[] } };
  expect(find(objects(["s3/adapter.yaml"]), "Secret").stringData).toEqual({
    aws_access_key_id,
    aws_secret_access_key,
    aws_region: "us-east-1",
    aws_endpoint_url: `http://${metadata.name}.${metadata.namespace}.svc.cluster.local:${spec.ports[0]?.port}`,
  });
});

test("the sample that downloads its base model serves what it downloads", () => {
  const { spec } = find(objects(["base-model/base.yaml"]), "Deployment") as DeploymentManifest;
  const { initContainers, containers, volumes } = spec.template.spec as unknown as Record<
    string,
    readonly Readonly<Record<string, unknown>>[]
  >;
  const [download] = initContainers ?? [];
  const [engine] = containers ?? [];
  const args = download?.command as readonly string[];
  const after = (list: readonly string[], flag: string) => list[list.indexOf(flag) + 1] ?? "";
  expect(args[0]).toBe("aibrix_download");
  const folder = `${after(args, "--local-dir")}/${after(args, "--model-uri").split("/").at(-1)}`;
  expect(after(engine?.command as readonly string[], "--model")).toBe(folder);
  for (const container of [download, engine])
    expect(container?.volumeMounts).toContainEqual(expect.objectContaining({ name: "models", mountPath: after(args, "--local-dir") }));
  expect(volumes).toContainEqual({ name: "models", emptyDir: {} });
});

test.each(["s3/base.yaml", "node-cache/base.yaml"])("samples/%s: the sidecar has a read-only root, and room for what it writes", (file) => {
  const { spec } = find(objects([file]), "Deployment") as DeploymentManifest;
  const sidecar = spec.template.spec.containers.find((c) => c.name === "aibrix-runtime");
  expect(sidecar).toMatchObject({
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "tmp", mountPath: "/tmp" },
      { name: "adapters", mountPath: "/tmp/aibrix/adapters" },
    ],
  });
  expect(spec.template.spec).toMatchObject({ volumes: expect.arrayContaining([{ name: "tmp", emptyDir: {} }]) });
});

describe("on an API server", () => {
  let plane: ManifestPlane;

  beforeAll(async () => {
    plane = await ManifestPlane.start();
    await plane.do("apply", "--server-side", "-f", "deploy/crd/model.aibrix.ai_modeladapters.yaml");
    await plane.crdsServed();
  }, 3_600_000);

  afterAll(async () => {
    await plane?.[Symbol.asyncDispose]();
  });

  test.each(Object.values(SAMPLES).flat())("samples/%s is accepted", async (file) => {
    const all = objects([file]);
    expect(all.length).toBeGreaterThan(0);
    for (const object of all) expect({ kind: object.kind, refusal: await plane.refusal(object) }).toEqual({ kind: object.kind });
    const { status, out } = await plane.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", `samples/${file}`]);
    expect({ status, out }).toMatchObject({ status: 0 });
    expect(out).not.toMatch(/warning/i);
  });

  test("a sample with a slip is refused", async () => {
    const adapter = find(objects(["s3/adapter.yaml"]), "ModelAdapter");
    const { podSelector, ...spec } = adapter.spec as Record<string, unknown>;
    expect(await plane.refusal({ ...adapter, spec: { ...spec, podSelectors: podSelector } })).toMatch(/podSelectors/);
  });
});

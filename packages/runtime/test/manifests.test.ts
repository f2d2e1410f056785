import { mkdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Hub, startHub, writeAdapter } from "@aibrix/devcluster";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Program, stopPrograms } from "./support/program.ts";
import { BASE, engineModels, eventually, type Runtime, World } from "./support/world.ts";

const TOKEN = "hf_token-in-a-secret";

let world: World;
let engine: Program;
let runtime: Runtime;
let hub: Hub;
let shared: World;

beforeAll(async () => {
  shared = new World();
  for (const [name, seed] of [
    ["one", 1],
    ["two", 2],
  ] as const)
    await writeAdapter(shared.path(name), { seed });
  await writeAdapter(shared.path("hub/acme/gated"), { seed: 3 });
  await writeFile(shared.path("hub/acme/gated/.gated"), "");
  hub = await startHub({ root: shared.path("hub"), token: TOKEN });
});
afterAll(async () => {
  await hub.close();
  shared.remove();
});
beforeEach(async () => {
  world = new World();
  engine = await world.engine();
  runtime = await world.follower(engine.url, { env: { HF_ENDPOINT: hub.url } });
});
afterEach(async () => {
  await stopPrograms();
  world.remove();
});

function manifest(name: string, url: string, { base = BASE, namespace = "default", more = "" } = {}): string {
  return `apiVersion: model.aibrix.ai/v1alpha1
kind: ModelAdapter
metadata:
  name: ${name}
  namespace: ${namespace}
spec:
  podSelector:
    matchLabels:
      model.aibrix.ai/name: ${base}
  artifactURL: ${url}
${more}`;
}
const drop = (file: string, text: string) => writeFile(join(world.manifests, file), text);
const remove = (file: string) => rm(join(world.manifests, file));
const problems = async () => (await runtime.snapshot()).manifest_problems;
const problem = (want: object) => eventually(async () => expect(await problems()).toEqual([expect.objectContaining(want)]));
const noProblem = () => eventually(async () => expect(await problems()).toEqual([]));
const from = (name: string) => ({ state: "Serving", artifact_url: shared.path(name), origin: "manifest" });

test("a manifest is served, follows its changes, and is unloaded with its file", async () => {
  await drop("a.yaml", manifest("a", shared.path("one")));
  await runtime.until("a", from("one"));
  expect(await engineModels(engine)).toMatchObject({ a: shared.path("one") });
  await drop("a.yaml", manifest("a", shared.path("two")));
  await runtime.until("a", from("two"));
  await remove("a.yaml");
  await runtime.gone("a");
  expect(await engineModels(engine)).not.toHaveProperty("a");
});

test("several documents in a file, JSON, other kinds beside them, and files that are no manifests", async () => {
  const other = "apiVersion: v1\nkind: Service\nmetadata: {name: x}";
  await drop("all.yml", [manifest("a", shared.path("one")), other, manifest("b", shared.path("two"))].join("\n---\n"));
  const spec = { podSelector: { matchLabels: { "model.aibrix.ai/name": BASE } }, artifactURL: shared.path("one") };
  await drop("c.json", JSON.stringify({ apiVersion: "model.aibrix.ai/v1alpha1", kind: "ModelAdapter", metadata: { name: "c" }, spec }));
  await drop("README.md", "# not a manifest");
  await drop(".hidden.yaml", manifest("hidden", shared.path("one")));
  for (const name of ["a", "b", "c"]) await runtime.serves(name);
  expect(await problems()).toEqual([]);
  await drop("all.yml", manifest("b", shared.path("two")));
  await runtime.gone("a");
  expect((await runtime.snapshot()).adapters.map((a) => a.lora_name)).toEqual(["b", "c"]);
});

test("a file that is broken takes nothing down, and is told with its line until it is mended", async () => {
  await drop("a.yaml", manifest("a", shared.path("one")));
  await runtime.serves("a");
  await drop("a.yaml", `${manifest("a", shared.path("two"))}  broken: [1,\n`);
  await problem({
    file: join(world.manifests, "a.yaml"),
    reason: "InvalidManifest",
    message: expect.stringMatching(/^line 1[12], column \d+: .*mend the YAML/),
  });
  expect(await runtime.serves("a")).toMatchObject(from("one"));
  await drop("b.yaml", manifest("b", shared.path("two")));
  await runtime.serves("b");
  await drop("a.yaml", manifest("a", shared.path("two")));
  await runtime.until("a", from("two"));
  await noProblem();
  const warnings = runtime.program
    .output()
    .split("\n")
    .filter((line) => line.includes('"level":40') && line.includes("mend the YAML"));
  expect(warnings).toHaveLength(1);
});

test("an object that cannot work is told with its name and what to write; what it was before goes on", async () => {
  await drop("a.yaml", manifest("a", "ftp://x"));
  await problem({ name: "a", message: expect.stringMatching(/spec\.artifactURL: .*write huggingface:\/\//) });
  await drop("a.yaml", manifest("a", shared.path("one")));
  await runtime.serves("a");
  await drop("a.yaml", manifest("a", shared.path("one"), { more: "  replica: 2\n" }));
  await problem({ name: "a", message: expect.stringContaining("spec.replica: is not a field") });
  expect(await runtime.serves("a")).toMatchObject(from("one"));
});

test("two of one name: the one that serves keeps it, and the other takes over when it goes", async () => {
  await drop("b.yaml", manifest("a", shared.path("one")));
  await runtime.serves("a");
  await drop("a.yaml", manifest("a", shared.path("two"), { namespace: "other" }));
  await problem({
    file: join(world.manifests, "a.yaml"),
    name: "a",
    reason: "DuplicateName",
    message: expect.stringContaining(join(world.manifests, "b.yaml")),
  });
  expect(await runtime.serves("a")).toMatchObject(from("one"));
  await remove("b.yaml");
  await runtime.until("a", from("two"));
  await noProblem();
});

test("a name that a call declared is the call's, and the other way round", async () => {
  await runtime.load("a", shared.path("one"));
  await runtime.serves("a");
  await drop("a.yaml", manifest("a", shared.path("two")));
  await problem({ name: "a", reason: "NameConflict" });
  await runtime.post("unload", { lora_name: "a" });
  await runtime.until("a", from("two"));
  const answer = await runtime.load("a", shared.path("one"));
  expect(answer).toMatchObject({ status: 409, body: { error: { code: "NameConflict", message: expect.stringContaining("manifest") } } });
  expect((await runtime.post("unload", { lora_name: "a" })).status).toBe(409);
});

test("a Secret of the folder gives credentials and key; while it is missing, that is told", async () => {
  const refs = "  credentialsSecretRef: {name: hub}\n  apiKeySecretRef: {name: engine, key: key}\n";
  await drop("a.yaml", manifest("a", "hf://acme/gated", { more: refs }));
  expect((await runtime.failed("a", "SecretNotFound")).message).toContain("Secret default/engine");
  await drop("engine.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: engine}\nstringData: {key: sk-any}");
  await eventually(async () => expect((await runtime.failed("a", "SecretNotFound")).message).toContain("Secret default/hub"));
  await drop(
    "hub.yaml",
    `apiVersion: v1\nkind: Secret\nmetadata: {name: hub}\ndata: {huggingface_token: ${Buffer.from("hf_wrong").toString("base64")}}`,
  );
  expect((await runtime.failed("a", "ArtifactDenied")).message).toContain("refused the token");
  await drop(
    "hub.yaml",
    `apiVersion: v1\nkind: Secret\nmetadata: {name: hub}\ndata: {huggingface_token: ${Buffer.from(TOKEN).toString("base64")}}`,
  );
  await runtime.serves("a");
  const shown = runtime.program.output() + JSON.stringify(await runtime.snapshot());
  expect(shown).not.toMatch(/hf_|sk-any/);
});

test("what is for another base model is told with cause and remedy, and logged once; it is no adapter here", async () => {
  await drop("a.yaml", manifest("other", shared.path("one"), { base: "another-model" }));
  await drop("b.yaml", manifest("a", shared.path("one")));
  await runtime.serves("a");
  await problem({ file: join(world.manifests, "a.yaml"), name: "other", reason: "NotSelected", message: expect.stringContaining(BASE) });
  expect((await runtime.snapshot()).adapters).toMatchObject([{ lora_name: "a" }]);
  const lines = runtime.program
    .output()
    .split("\n")
    .filter((line) => line.includes("does not match the labels of this engine"));
  expect(lines).toEqual([expect.stringContaining('"level":30')]);
  await drop("a.yaml", manifest("other", shared.path("one")));
  await runtime.serves("other");
  await noProblem();
});

test("--pod-label decides instead of the engine's names, and can switch all off", async () => {
  await drop("a.yaml", manifest("a", shared.path("one"), { base: "my-name" }));
  await drop("b.yaml", manifest("b", shared.path("one")));
  const labelled = await world.follower(engine.url, {
    args: ["--pod-label=model.aibrix.ai/name=my-name", `--artifacts-dir=${world.path("labelled")}`],
  });
  await labelled.serves("a");
  expect((await labelled.snapshot()).adapters).toHaveLength(1);
  await labelled.program.stop();
  const off = await world.follower(engine.url, {
    args: ["--pod-label=adapter.model.aibrix.ai/enabled=false", `--artifacts-dir=${world.path("off")}`],
  });
  await eventually(async () => expect((await off.text("/ready")).status).toBe(200));
  expect((await off.snapshot()).adapters).toEqual([]);
});

test("a failed one is tried again when its file is saved again", async () => {
  await drop("a.yaml", manifest("a", world.path("later")));
  await runtime.failed("a", "ArtifactNotFound");
  await writeAdapter(world.path("later"), { seed: 7 });
  const now = new Date();
  await utimes(join(world.manifests, "a.yaml"), now, now);
  await runtime.serves("a");
});

test("a folder as kubelet mounts a ConfigMap: its files change by a link that is swapped", async () => {
  const version = async (name: string, url: string) => {
    await mkdir(join(world.manifests, name));
    await writeFile(join(world.manifests, name, "a.yaml"), manifest("a", url));
    await symlink(name, join(world.manifests, "..data_tmp"));
    await rename(join(world.manifests, "..data_tmp"), join(world.manifests, "..data"));
  };
  await version("..2026_1", shared.path("one"));
  await symlink("..data/a.yaml", join(world.manifests, "a.yaml"));
  await runtime.until("a", from("one"));
  await version("..2026_2", shared.path("two"));
  await rm(join(world.manifests, "..2026_1"), { recursive: true });
  await runtime.until("a", from("two"));
});

test("a folder that is not there is told, and takes nothing away", async () => {
  await drop("a.yaml", manifest("a", shared.path("one")));
  await runtime.serves("a");
  await rename(world.manifests, world.path("moved"));
  await problem({ file: world.manifests, message: expect.stringContaining("create it") });
  await runtime.serves("a");
  await rename(world.path("moved"), world.manifests);
  await noProblem();
});

test("what the manifests declare is there again after a restart; what they no longer declare is unloaded", async () => {
  await drop("a.yaml", manifest("a", shared.path("one")));
  await drop("b.yaml", manifest("b", shared.path("two")));
  await runtime.serves("a");
  await runtime.serves("b");
  await runtime.program.kill();
  await remove("b.yaml");
  const again = await world.follower(engine.url);
  await again.serves("a");
  await again.gone("b");
  expect(Object.keys(await engineModels(engine)).sort()).toEqual(["a", BASE].sort());
});

test("a manifest that comes before the engine waits for it, and says so", async () => {
  await engine.kill();
  await eventually(async () => expect((await runtime.snapshot()).engine.ready).toBe(false));
  await runtime.program.stop();
  await drop("a.yaml", manifest("a", shared.path("one"), { more: "  baseModel: llama\n" }));
  const early = await world.follower(engine.url);
  await early.until("a", { state: "Pending", reason: "EngineUnavailable" });
  await world.engine({ port: new URL(engine.url).port });
  expect((await early.serves("a")).message).toBe(`warning: spec.baseModel is "llama", the engine serves ${BASE}`);
});

test("the key of a manifest opens the engine's list, so that its selector can be compared", async () => {
  await engine.kill();
  await world.engine({ port: new URL(engine.url).port, env: { VLLM_API_KEY: "sk-key" } });
  await drop("a.yaml", manifest("without", shared.path("one")));
  expect((await runtime.failed("without", "EngineUnauthorized")).message).toContain("additionalConfig.api-key");
  await drop("b.yaml", manifest("with", shared.path("two"), { more: "  additionalConfig: {api-key: sk-key}\n" }));
  await runtime.serves("with");
  await runtime.failed("without", "EngineUnauthorized");
  expect(runtime.program.output()).not.toContain("sk-key");
});

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { mkdir, stat, utimes, writeFile } from "node:fs/promises";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { SILENT, testStore } from "../../test/fakes.ts";
import { Egress } from "../egress/egress.ts";
import { createMetrics } from "../metrics.ts";
import type { Content } from "./artifacts.ts";
import { DeliveredArtifacts, readDelivery } from "./delivery.ts";
import type { NamedContent } from "./store/store.ts";
import { Transfers, UNLIMITED } from "./transfer/transfers.ts";

const root = mkdtempSync(join(tmpdir(), "delivery-"));
const egress = new Egress({ hosts: [], networks: new BlockList() }, {}, 1_000);
afterAll(async () => {
  await egress.close();
  rmSync(root, { recursive: true, force: true });
});
const signal = AbortSignal.timeout(30_000);

test.each([
  { name: "no folder", request: { mode: "volume" as const }, url: "hf://a/b", want: /needs runtime_dir and engine_dir/ },
  { name: "S3 by the engine", request: { mode: "engine" as const }, url: "s3://models/a", want: /cannot read s3:.* itself/ },
  { name: "Google storage by the engine", request: { mode: "engine" as const }, url: "gs://models/a", want: /cannot read gs:.* itself/ },
  { name: "an archive by the engine", request: { mode: "engine" as const }, url: "https://h/a.zip", want: /cannot read https:.* itself/ },
  { name: "a folder by the engine", request: { mode: "engine" as const }, url: "hf://a/b/c", want: /a whole huggingface:/ },
  { name: "a pin by the engine", request: { mode: "engine" as const }, url: `hf://a/b#sha256=${"a".repeat(64)}`, want: /or a pin/ },
  { name: "a path's pin by the engine", request: { mode: "engine" as const }, url: `/a#sha256=${"a".repeat(64)}`, want: /or a pin/ },
  { name: "a revision by the engine", request: { mode: "engine" as const }, url: "hf://a/b@main", want: /without a revision/ },
])("refuses $name", ({ request, url, want }) => {
  expect(() => readDelivery(request, url)).toThrow(want);
});

/** @param podFolder - this pod's name in the shared folders */
async function artifacts(podFolder?: string) {
  const store = testStore(join(root, "own"));
  await store.open();
  const transfers = new Transfers(UNLIMITED, egress);
  const folders: string[] = [];
  const found: NamedContent[] = [];
  const all = new DeliveredArtifacts({
    store,
    storeIn: (dir) => testStore(dir, { podFolder }),
    env: {},
    metrics: createMetrics(),
    egress,
    transfers,
    onFolder: async (dir) => void folders.push(dir),
    onFound: async (contents) => void found.push(...contents),
    log: SILENT,
  });
  return Object.assign(all, { folders, found });
}

/** Content as an earlier run left it in a folder, so that nothing has to be fetched. */
async function kept(dir: string): Promise<void> {
  const store = testStore(dir);
  await store.open();
  const folder = await store.newFolder();
  await writeFile(join(folder, "adapter_config.json"), "{}");
  await store.install("a", folder, {
    artifact_url: "hf://acme/a",
    source_fingerprint: "f",
    fetched_at: "2026-01-01T00:00:00Z",
    files: [{ name: "adapter_config.json", sizeBytes: 2, sha256: "0".repeat(64) }],
  });
}

function obtain(all: DeliveredArtifacts, url: string, delivery: ReturnType<typeof readDelivery>): Promise<Content> {
  return all.obtain({ name: "a", url, credentials: {}, preferLocal: true, delivery }, () => undefined, signal);
}

test("an engine that sees the shared folder elsewhere is given its own path, and the files are looked after under ours", async () => {
  const shared = join(root, "shared");
  await kept(shared);
  const all = await artifacts();
  const delivery = readDelivery({ mode: "volume", runtime_dir: `${shared}/`, engine_dir: "/adapters" }, "hf://acme/a");
  const content = await obtain(all, "hf://acme/a", delivery);
  expect(content.path).toMatch(/^\/adapters\/a\/[0-9a-f]{64}$/);
  expect(content.local).toBe(join(shared, content.path.slice("/adapters/".length)));
  expect(await all.isComplete("a", content)).toBe(true);
  await all.drop("a");
  expect(await all.isComplete("a", content)).toBe(false);
  await all.close();
});

test("what the engine reads itself is passed on by name, without a digest", async () => {
  const all = await artifacts();
  const content = await obtain(all, "huggingface://acme/a", { mode: "engine" });
  expect(content).toEqual({ path: "acme/a", digest: "" });
  expect(await all.isComplete("a", content)).toBe(true);
  expect(await obtain(all, "/models/a", { mode: "engine" })).toEqual({ path: "/models/a", digest: "" });
});

test("a shared folder that cannot be used is named, and looked at again later", async () => {
  const dir = join(root, "file");
  await writeFile(dir, "");
  const all = await artifacts();
  const delivery = { mode: "volume" as const, runtimeDir: dir, engineDir: dir };
  await expect(obtain(all, "hf://acme/a", delivery)).rejects.toThrow(new RegExp(`shared folder ${dir} cannot be used .*mount a volume`));
  rmSync(dir);
  await mkdir(dir);
  await kept(dir);
  expect((await obtain(all, "hf://acme/a", delivery)).path).toContain(dir);
});

test("a folder that a load call named is remembered before anything is in it, and what is there is told before a sweep", async () => {
  const dir = join(root, "named");
  await kept(dir);
  const all = await artifacts();
  const { digest } = await obtain(
    all,
    "hf://acme/a",
    readDelivery({ mode: "volume", runtime_dir: dir, engine_dir: "/models" }, "hf://acme/a"),
  );
  expect(all.folders).toEqual([dir]);
  expect(all.found).toEqual([{ name: "a", digest }]);
  await all.close();
});

test("after a restart the remembered folders are looked after: signs of life, what is there, cleanups; one that is gone is not made", async () => {
  const [dir, gone] = [join(root, "reopened"), join(root, "unmounted")];
  const before = testStore(dir, { podFolder: "pod-1" });
  await before.open();
  const folder = await before.newFolder();
  await writeFile(join(folder, "w"), "one");
  const about = { artifact_url: "hf://a/b", source_fingerprint: "f", fetched_at: "2026-01-01T00:00:00Z" };
  const { path, digest } = await before.install("a", folder, { ...about, files: [{ name: "w", sizeBytes: 3, sha256: "1" }] });
  const alive = join(dir, "pods/pod-1/.alive");
  const old = new Date(Date.now() - 3_600_000);
  await utimes(alive, old, old);
  const all = await artifacts("pod-1");
  all.reopen([gone, dir]);
  await vi.waitFor(async () => expect((await stat(alive)).mtimeMs).toBeGreaterThan(old.getTime()), { interval: 5, timeout: 5_000 });
  await all.sweep((name, hash) => all.found.some((c) => c.name === name && c.digest === hash));
  expect(existsSync(path)).toBe(true);
  expect(all.found).toEqual([{ name: "a", digest }]);
  await all.drop("a");
  expect(existsSync(path)).toBe(false);
  expect(existsSync(gone)).toBe(false);
  await all.close();
});

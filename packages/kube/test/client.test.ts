import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  apiVersionOf,
  CONFIG_MAPS,
  controllerReference,
  EVENTS,
  EventRecorder,
  KubeError,
  loadKubeConfig,
  PODS,
  type Resource,
  SERVICES,
} from "@aibrix/kube";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silent, TestPlane } from "./support/plane.ts";

const signal = AbortSignal.timeout(3_600_000);
let plane: TestPlane;

beforeAll(async () => {
  plane = await TestPlane.start();
}, 3_600_000);
afterAll(async () => {
  await plane?.[Symbol.asyncDispose]();
});

const named = (name: string) => ({ namespace: "default", name });

test("applies only its own fields; another manager's are a conflict unless it insists", async () => {
  const { client } = plane.connect();
  const one = { metadata: named("ssa"), data: { mine: "1" } };
  await client.apply(CONFIG_MAPS, one, { fieldManager: "one" }, signal);
  await client.apply(CONFIG_MAPS, { metadata: named("ssa"), data: { yours: "2" } }, { fieldManager: "two" }, signal);
  expect((await client.get(CONFIG_MAPS, named("ssa"), signal)).data).toEqual({ mine: "1", yours: "2" });
  const claim = { metadata: named("ssa"), data: { yours: "3" } };
  const refused = await client.apply(CONFIG_MAPS, claim, { fieldManager: "one", force: false }, signal).catch((e: unknown) => e);
  expect(refused).toMatchObject({ status: 409, conflict: true, retryable: true, message: expect.stringContaining('"two"') });
  await client.apply(CONFIG_MAPS, claim, { fieldManager: "one" }, signal);
  expect((await client.get(CONFIG_MAPS, named("ssa"), signal)).data).toEqual({ yours: "3" });
});

test("a slip in a field is refused, not dropped", async () => {
  const { client } = plane.connect();
  const slip = { metadata: named("slip"), spec: { ports: [{ port: 80 }], clusterIp: "None" } };
  await expect(client.apply(SERVICES, slip as never, {}, signal)).rejects.toThrow("clusterIp");
});

test("reads, writes and deletes; conflicts and absences are told apart", async () => {
  const { client } = plane.connect();
  const made = await client.create(CONFIG_MAPS, { metadata: named("cm"), data: { a: "1" } }, {}, signal);
  await expect(client.create(CONFIG_MAPS, { metadata: named("cm") }, {}, signal)).rejects.toMatchObject({ alreadyExists: true });
  await client.update(CONFIG_MAPS, { ...made, data: { a: "2" } }, {}, signal);
  await expect(client.update(CONFIG_MAPS, { ...made, data: { a: "3" } }, {}, signal)).rejects.toMatchObject({ conflict: true });
  await client.mergePatch(CONFIG_MAPS, named("cm"), { data: { a: null, b: "4" } }, {}, signal);
  expect((await client.get(CONFIG_MAPS, named("cm"), signal)).data).toEqual({ b: "4" });
  await expect(client.delete(CONFIG_MAPS, named("cm"), { uid: "another" }, signal)).rejects.toMatchObject({ conflict: true });
  await client.delete(CONFIG_MAPS, named("cm"), { uid: made.metadata.uid }, signal);
  await client.delete(CONFIG_MAPS, named("cm"), {}, signal);
  expect(await client.find(CONFIG_MAPS, named("cm"), signal)).toBeUndefined();
  await client.create(CONFIG_MAPS, { metadata: named("dry") }, { dryRun: true }, signal);
  expect(await client.find(CONFIG_MAPS, named("dry"), signal)).toBeUndefined();
});

test("lists in pages, by selectors, and metadata only", async () => {
  const { client } = plane.connect();
  for (let i = 0; i < 7; i++)
    await client.apply(CONFIG_MAPS, { metadata: { ...named(`page-${i}`), labels: { page: "yes" } }, data: { i: `${i}` } }, {}, signal);
  const where = { namespace: "default", labelSelector: "page=yes" };
  const first = await client.listPage(CONFIG_MAPS, { ...where, limit: 3 }, signal);
  expect(first.items.map((c) => c.data?.i)).toEqual(["0", "1", "2"]);
  const rest = await client.listPage(CONFIG_MAPS, { ...where, continueToken: first.continueToken }, signal);
  expect(rest.items).toHaveLength(4);
  const [only] = await client.list(CONFIG_MAPS, { ...where, fieldSelector: "metadata.name=page-5", metadataOnly: true }, signal);
  expect(only).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "page-5", labels: { page: "yes" } } });
  expect(only).not.toHaveProperty("data");
});

test("writes a pod's status by its subresource, and nothing else with it", async () => {
  const { client } = plane.connect();
  await client.create(PODS, { metadata: named("pod"), spec: { containers: [{ name: "c", image: "i" }] } }, {}, signal);
  const status = { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }] };
  await client.applyStatus(PODS, { metadata: named("pod"), status }, {}, signal);
  expect((await client.get(PODS, named("pod"), signal)).status).toMatchObject({ phase: "Running", podIP: "10.0.0.1" });
});

test("events reach the server, repetitions as a count, and kubectl's API sees them", async () => {
  const { client } = plane.connect();
  const owner = await client.apply(CONFIG_MAPS, { metadata: named("owner") }, {}, signal);
  const events = new EventRecorder({ client, controller: "example.com/test", instance: "test-1", log: silent, gatherMs: 1e6 });
  const event = { type: "Warning", reason: "LoadFailed", action: "Load", note: "the engine said no" } as const;
  events.record(CONFIG_MAPS, owner, event);
  const where = { namespace: "default", fieldSelector: "regarding.name=owner" };
  await expect.poll(() => client.list(EVENTS, where, signal), { timeout: 10_000 }).toHaveLength(1);
  for (let i = 0; i < 10; i++) events.record(CONFIG_MAPS, owner, event);
  await events.close(signal);
  const [told] = await client.list(EVENTS, where, signal);
  expect(told).toMatchObject({ ...event, series: { count: 11 }, regarding: { kind: "ConfigMap", uid: owner.metadata.uid } });
  const core: Resource = { group: "", version: "v1", plural: "events", kind: "Event", namespaced: true };
  const [seen] = await client.list(core, { namespace: "default", fieldSelector: "involvedObject.name=owner" }, signal);
  expect(seen).toMatchObject({ message: "the engine said no", reportingComponent: "example.com/test" });
});

test("an owner reference is what the server takes for one", async () => {
  const { client } = plane.connect();
  const owner = await client.apply(CONFIG_MAPS, { metadata: named("parent") }, {}, signal);
  const child = { metadata: { ...named("child"), ownerReferences: [controllerReference(CONFIG_MAPS, owner)] } };
  const made = await client.apply(CONFIG_MAPS, child, {}, signal);
  expect(made.metadata.ownerReferences?.[0]).toMatchObject({
    apiVersion: apiVersionOf(CONFIG_MAPS),
    uid: owner.metadata.uid,
    controller: true,
  });
});

test("what RBAC forbids says who may not do what; a service account's token works, also when its file changes", async () => {
  const { client } = plane.connect();
  const accounts: Resource = { group: "", version: "v1", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true };
  await client.apply(accounts, { metadata: named("reader") }, {}, signal);
  const { status } = (await client.raw(
    {
      verb: "create",
      method: "POST",
      resource: "serviceaccounts",
      path: "/api/v1/namespaces/default/serviceaccounts/reader/token",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 3600 } },
    },
    signal,
  )) as { status: { token: string } };
  const tokenFile = join(plane.plane.dir, "reader.token");
  await writeFile(tokenFile, "expired");
  const config = loadKubeConfig({ file: plane.plane.kubeconfig });
  const [cluster] = config.getClusters();
  if (cluster === undefined) throw new Error("no cluster");
  const file = join(plane.plane.dir, "reader.kubeconfig");
  config.loadFromClusterAndUser(cluster, { name: "reader", authProvider: { name: "tokenFile", config: { tokenFile } } });
  await writeFile(file, config.exportConfig());
  const reader = plane.connect(file);
  await expect(reader.client.list(CONFIG_MAPS, { namespace: "default" }, signal)).rejects.toMatchObject({ status: 401 });
  await writeFile(tokenFile, status.token);
  const refused = await reader.client.list(CONFIG_MAPS, { namespace: "default" }, signal).catch((e: unknown) => e);
  expect(refused).toBeInstanceOf(KubeError);
  expect(refused).toMatchObject({ status: 403, message: expect.stringContaining("system:serviceaccount:default:reader") });
  expect(reader.calls.map((c) => c.status)).toEqual([401, 401, 401, 403]);
});

test("a watch from a version that is long gone is expired", async () => {
  const { client } = plane.connect();
  await plane.plane.restartApiserver(signal);
  const watch = client.watch(CONFIG_MAPS, { resourceVersion: "1", timeoutSeconds: 60 }, signal);
  await expect(watch.next()).rejects.toMatchObject({ expired: true });
});

import { ensureGatewayCrds } from "@aibrix/devcluster";
import { splitKey } from "@aibrix/kube";
import { beforeAll, expect, test } from "vitest";
import { HTTP_ROUTES, type HttpRoute } from "../src/routes/http-route.ts";
import { adapters, useWorld, world } from "./support/case.ts";
import { adapter, until } from "./support/world.ts";

/* HTTPRoutes on a real API server: first without the Gateway API, then with it. The tests are steps of one story. */

const FLAGS = ["--enable-runtime-sidecar", "--enable-httproutes", "--httproute-gateway=infra/public"];
const TIMING = { httpRoutesAgainMs: 200 };

let crds = "";

useWorld();

beforeAll(async () => {
  crds = await ensureGatewayCrds({ log: () => undefined, signal: AbortSignal.timeout(3_600_000) });
  await world.apply("deploy/rbac/httproutes/rbac.yaml");
  await world.pod("a");
}, 3_600_000);

const signal = () => AbortSignal.timeout(10_000);
const route = async (name: string): Promise<HttpRoute | undefined> =>
  await world.admin.find(HTTP_ROUTES, { namespace: "default", name }, signal());
const routed = async (name: string): Promise<HttpRoute> => await until(`${name} has a route`, () => route(name));
const unrouted = async (name: string) => await until(`${name} has no route`, async () => (await route(name)) === undefined);

test("without the Gateway API all else goes on, and the routes come with it", async () => {
  const controller = await world.controller(FLAGS, TIMING);
  await world.applyObject(adapter("x"));
  await adapters.ready("default/x");
  const asked = () => controller.calls.filter((c) => c.resource === "httproutes").length;
  await until("it has asked twice for what is not there", async () => asked() >= 2);
  await world.kubectl("apply", "--server-side", "-f", `${crds}/gatewayapi-crds.yaml`);
  const { spec, metadata } = await routed("x");
  expect(metadata.ownerReferences).toMatchObject([{ kind: "ModelAdapter", name: "x", controller: true }]);
  expect(spec).toEqual({
    parentRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "infra", name: "public" }],
    rules: [
      {
        matches: [{ path: { type: "PathPrefix", value: "/" }, headers: [{ type: "Exact", name: "X-Gateway-Model-Name", value: "x" }] }],
        backendRefs: [{ group: "", kind: "Service", name: "x", port: 8000, weight: 1 }],
      },
    ],
  });
});

test("what was edited or deleted by hand is put back, and then it rests", async () => {
  await world.admin.mergePatch(
    HTTP_ROUTES,
    splitKey("default/x"),
    { metadata: { labels: { "app.kubernetes.io/managed-by": null, team: "a" } }, spec: { hostnames: ["example.org"], parentRefs: null } },
    {},
    signal(),
  );
  await until("it is as before", async () => {
    const { spec, metadata } = await routed("x");
    const { hostnames, parentRefs } = spec as { hostnames?: string[]; parentRefs?: object[] };
    return hostnames === undefined && parentRefs?.length === 1 && metadata.labels?.["app.kubernetes.io/managed-by"] !== undefined;
  });
  expect((await routed("x")).metadata.labels?.team).toBe("a");
  await world.admin.delete(HTTP_ROUTES, splitKey("default/x"), {}, signal());
  const { metadata } = await routed("x");
  // An adapter that comes later goes through the same queue: whatever still had to be written to x would be by then.
  await world.applyObject(adapter("y"));
  await routed("y");
  expect((await routed("x")).metadata.resourceVersion).toBe(metadata.resourceVersion);
});

test("a route of that name that is somebody else's is left alone and told", async () => {
  const own = { apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name: "z", namespace: "default" }, spec: {} };
  await world.admin.create(HTTP_ROUTES, own, {}, signal());
  await world.applyObject(adapter("z"));
  await until("it is told", async () => (await adapters.events("default/z")).includes("HTTPRouteNotOwned"));
  expect((await route("z"))?.metadata.ownerReferences).toBeUndefined();
  await world.admin.delete(HTTP_ROUTES, splitKey("default/z"), {}, signal());
  expect((await routed("z")).metadata.ownerReferences).toHaveLength(1);
});

test("a route goes with its adapter, and all go with the flag", async () => {
  await adapters.remove("default/z");
  await unrouted("z");
  const foreign = {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "theirs", namespace: "default", labels: { "app.kubernetes.io/managed-by": "aibrix-controller-manager" } },
    spec: {},
  };
  await world.admin.create(HTTP_ROUTES, foreign, {}, signal());
  await world.stopControllers();
  await world.controller();
  await unrouted("x");
  await unrouted("y");
  expect(await route("theirs")).toBeDefined();
  await adapters.ready("default/x");
  await adapters.remove("default/x", "default/y");
});

import { type KubeObject, PODS } from "@aibrix/kube";
import { expect, test } from "vitest";
import { adapters, lora, made, ns, pod, useNamespaces, world } from "./support/case.ts";
import { adapter, type FakePod, until } from "./support/world.ts";

/** A headless Service without selector is given both address families, with which a cluster of one takes no selector. */
const SINGLE_STACK = { ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4"] };

useNamespaces("case");

test("every matching pod gets it, also one that comes later; one that goes leaves the slices", async () => {
  const [a, b] = [await pod("a"), await pod("b")];
  await world.controller();
  await world.applyObject(lora("x"));
  const s = await until("both", async () => {
    const now = await adapters.status(`${ns}/x`);
    return now?.readyReplicas === 2 ? now : undefined;
  });
  expect(s.conditions?.[1]?.message).toBe(`ModelAdapter ${ns}/x has been allocated to pods ${ns}/a, ${ns}/b`);
  const c = await pod("c");
  await until("three addresses", async () => (await adapters.addresses(`${ns}/x`)).length === 3);
  await world.setReady(b, false);
  await until("two addresses", async () => {
    const now = await adapters.addresses(`${ns}/x`);
    return now.length === 2 && !now.includes(b.ip);
  });
  for (const p of [a, b, c]) await world.deletePod(p);
  const gone = await adapters.condition(`${ns}/x`, "Ready", "False", "NoMatchingPods");
  expect(gone).toMatchObject({ phase: "Pending", readyReplicas: 0, instances: [] });
  const empty = await adapters.slices(`${ns}/x`);
  expect(empty.map((x) => x.endpoints ?? [])).toEqual([[]]);
});

test("N pods where replicas says so, the emptiest first, and a placement stays", async () => {
  const pods = [await pod("a"), await pod("b"), await pod("c")];
  await world.controller();
  await Promise.all(["r0", "r1", "r2"].map((name) => world.applyObject(lora(name, { replicas: 1 }))));
  const placed = await Promise.all(["r0", "r1", "r2"].map(async (name) => (await adapters.ready(`${ns}/${name}`)).instances?.[0]));
  expect([...placed].sort()).toEqual(["a", "b", "c"]);
  await world.applyObject(lora("r0", { replicas: 2 }));
  const two = await until("two", async () => {
    const s = await adapters.status(`${ns}/r0`);
    return s?.readyReplicas === 2 ? s : undefined;
  });
  expect(two.instances).toContain(placed[0]);
  await world.applyObject(lora("r0", { replicas: 1 }));
  await until("one again", async () => (await adapters.status(`${ns}/r0`))?.pods?.length === 1);
  expect(pods.flatMap((p) => p.runtime.serving).filter((x) => x === "r0")).toHaveLength(1);
});

test("schedulerName chooses the pods: replicas on several zones and nodes, or as few pods as hold them", async () => {
  const place = async (name: string, zone: string, nodeName: string) =>
    await pod(name, { nodeName, labels: { "topology.kubernetes.io/zone": zone, "model.aibrix.ai/max-cpu-loras": "4" } });
  await place("a", "east", "n1");
  await place("b", "east", "n2");
  await place("c", "west", "n3");
  await world.controller();
  const placed = async (name: string, spec: Record<string, unknown>) => {
    await world.applyObject(lora(name, spec));
    return (await adapters.ready(`${ns}/${name}`)).instances;
  };
  expect(await placed("spread", { replicas: 2 })).toEqual(["a", "c"]);
  expect(await placed("packed", { replicas: 1, schedulerName: "bin-pack" })).toEqual(["a"]);
  expect(await placed("packed-too", { replicas: 1, schedulerName: "bin-pack" })).toEqual(["a"]);
  expect(await placed("least", { replicas: 1, schedulerName: "least-adapters" })).toEqual(["b"]);
});

test("aibrix-engines has a pod at its own port, and at every port at which an adapter's slice has it", async () => {
  const a = await pod("a");
  const b = await pod("b", { labels: { "model.aibrix.ai/port": "7000" } });
  await world.controller();
  const places = async (key: string) => {
    const all = (await adapters.slices(key)).flatMap((s) => (s.endpoints ?? []).flatMap((e) => `${e.addresses[0]}:${s.ports?.[0]?.port}`));
    return all.filter((x) => [a, b].some((p) => x.startsWith(`${p.ip}:`))).sort();
  };
  const listed = (...wanted: string[]) =>
    until("they are listed", async () => JSON.stringify(await places("aibrix-system/aibrix-engines")) === JSON.stringify(wanted.sort()));
  await listed(`${a.ip}:8000`, `${b.ip}:7000`);
  await world.applyObject(lora("x", {}, { labels: { "model.aibrix.ai/port": "9001" } }));
  await adapters.ready(`${ns}/x`);
  await until("both have it", async () => (await places(`${ns}/x`)).length === 2);
  expect(await places(`${ns}/x`)).toEqual([`${a.ip}:9001`, `${b.ip}:7000`].sort());
  await listed(`${a.ip}:8000`, `${a.ip}:9001`, `${b.ip}:7000`);
  await adapters.remove(`${ns}/x`);
  await listed(`${a.ip}:8000`, `${b.ip}:7000`);
});

test("matchExpressions and the enabled label choose pods", async () => {
  await pod("a", { labels: { tier: "gold" } });
  await pod("b", { labels: { tier: "gold", "adapter.model.aibrix.ai/enabled": "false" } });
  await pod("c", { labels: { tier: "silver" } });
  await world.controller();
  await world.applyObject(lora("x", { podSelector: { matchExpressions: [{ key: "tier", operator: "In", values: ["gold"] }] } }));
  expect(await adapters.ready(`${ns}/x`)).toMatchObject({ instances: ["a"], candidates: 1 });
});

test("a shared volume carries s3://; without one it is refused in words that help", async () => {
  const without = await pod("without");
  await world.controller();
  await world.applyObject({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "creds", namespace: ns },
    stringData: { aws_access_key_id: "id", aws_secret_access_key: "very-secret" },
  } as never);
  await world.applyObject(lora("x", { artifactURL: "s3://models/x", credentialsSecretRef: { name: "creds" } }));
  const why = await adapters.refusal(`${ns}/x`, "VolumeMissing");
  expect(why).toMatch(
    /add an emptyDir volume to the pod and mount it at \/tmp\/aibrix\/adapters in both containers, vllm-openai and aibrix-runtime/,
  );
  expect(await adapters.status(`${ns}/x`)).toMatchObject({ phase: "Failed", instances: [] });
  expect(without.runtime.loads).toEqual([]);
  const withVolume = await pod("with", { volume: true });
  await adapters.ready(`${ns}/x`);
  expect(withVolume.runtime.loads).toEqual([
    {
      lora_name: "x",
      artifact_url: "s3://models/x",
      credentials: { aws_access_key_id: "id", aws_secret_access_key: "very-secret" },
      delivery: { mode: "volume", runtime_dir: "/tmp/aibrix/adapters", engine_dir: "/tmp/aibrix/adapters" },
      limits: { max_lora_rank: 16 },
      owner: expect.stringMatching(`^modeladapter/${ns}/x/`),
    },
  ]);
  const everything = await world.kubectl("get", "modeladapters,events,services,endpointslices", "-n", ns, "-o", "yaml");
  expect(everything).not.toContain("very-secret");
});

test("an edit to what cannot be delivered leaves what serves in service, and tells why", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  await world.applyObject(lora("x", { artifactURL: "s3://models/x" }));
  const s = await until("the reason is told", async () => {
    const now = await adapters.status(`${ns}/x`);
    return now?.update?.message === undefined ? undefined : now;
  });
  expect(s.update?.message).toMatch(/the engine cannot read s3:\/\/models\/x itself .*add an emptyDir volume/);
  expect(s).toMatchObject({ phase: "Running", observedGeneration: 1, readyReplicas: 1 });
  await until("UpdateFailed is told", async () => (await adapters.events(`${ns}/x`)).includes("UpdateFailed"));
  expect([a.runtime.unloads, a.runtime.serving, await adapters.addresses(`${ns}/x`)]).toEqual([[], ["x"], [a.ip]]);
  await world.applyObject(lora("x", { artifactURL: "huggingface://acme/other" }));
  await until("a good edit is served", async () => (await adapters.status(`${ns}/x`))?.observedGeneration === 3);
});

test("a final failure waits for an edit, and the status says cause and remedy", async () => {
  const a = await pod("a");
  a.runtime.fate = (load) =>
    load.artifact_url.endsWith("missing")
      ? { reason: "ArtifactNotFound", message: "acme/missing does not exist on the Hub: check the artifactURL", retryable: false }
      : "serving";
  const controller = await world.controller();
  await world.applyObject(lora("x", { artifactURL: "huggingface://acme/missing" }));
  expect(await adapters.refusal(`${ns}/x`, "ArtifactNotFound")).toBe(
    `${ns}/a: acme/missing does not exist on the Hub: check the artifactURL`,
  );
  expect(await adapters.status(`${ns}/x`)).toMatchObject({ phase: "Failed" });
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  expect(a.runtime.loads).toHaveLength(1);
  await until("LoadFailed is told", async () => (await adapters.events(`${ns}/x`)).includes("LoadFailed"));
  const before = controller.calls.length;
  await world.applyObject(lora("other"));
  await adapters.ready(`${ns}/other`);
  expect(a.runtime.loads.filter((l) => l.lora_name === "x")).toHaveLength(1);
  expect(controller.calls.length - before).toBeLessThan(20);
  await world.applyObject(lora("x", { artifactURL: "huggingface://acme/there" }));
  const s = await adapters.ready(`${ns}/x`);
  expect(s.observedGeneration).toBe(2);
});

test("an engine that loses its adapters leaves the slices at once and comes back, repaired", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.runtime.setEngine(false);
  await adapters.condition(`${ns}/x`, "Ready", "False");
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  await until("Drifted is told", async () => (await adapters.events(`${ns}/x`)).includes("Drifted"));
  // A restart of ours in between makes it no first load.
  await world.stopControllers();
  await world.controller();
  a.runtime.setEngine(true);
  await adapters.ready(`${ns}/x`);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  await until("Repaired is told", async () => (await adapters.events(`${ns}/x`)).includes("Repaired"));
});

test("a Service of that name which is somebody else's is left alone and named", async () => {
  const a = await pod("a");
  await world.applyObject({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "x", namespace: ns },
    spec: { selector: { app: "other" }, ports: [{ port: 80 }] },
  } as never);
  await world.controller();
  await world.applyObject(lora("x"));
  const why = await adapters.refusal(`${ns}/x`, "ServiceNotOwned");
  expect(why).toMatch(/a Service named x exists .*it selects the pods app=other\).*give the adapter another name, or remove the Service/);
  expect(a.runtime.loads).toEqual([]);
  expect(await adapters.slices(`${ns}/x`)).toEqual([]);
  expect(await world.get("Service", `${ns}/x`)).toMatchObject({ spec: { selector: { app: "other" } } });
});

test("a Service that becomes somebody else's loses our slices, nothing says Running any more, and its removal brings all back", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const patch = (metadata: object) =>
    world.kubectl(
      "patch",
      "service",
      "x",
      "-n",
      ns,
      "--type=merge",
      "-p",
      JSON.stringify({ metadata, spec: { selector: { app: "other" }, ...SINGLE_STACK } }),
    );
  const taken = async () => {
    await adapters.refusal(`${ns}/x`, "ServiceNotOwned");
    expect(await adapters.slices(`${ns}/x`)).toEqual([]);
    expect(await adapters.status(`${ns}/x`)).toMatchObject({ phase: "Failed", readyReplicas: 0 });
    expect(await world.get("Service", `${ns}/x`)).toMatchObject({ spec: { selector: { app: "other" } } });
  };
  // Still labelled as ours: the watch tells of it.
  await patch({ ownerReferences: null });
  await taken();
  await world.remove("Service", `${ns}/x`);
  await adapters.ready(`${ns}/x`);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  // Without our label it is out of the watch's sight.
  await patch({ ownerReferences: null, labels: null });
  await taken();
  expect(a.runtime.loads).toHaveLength(1);
});

test("a new pod of an old one's name, as a StatefulSet makes them, has nothing of the old one's state", async () => {
  const old = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  await world.stopControllers();
  await world.deletePod(old);
  // Nobody answers for the new one yet.
  const silent = await pod("a", { runtimeUrl: "http://127.0.0.1:1" });
  await world.controller();
  const [now] = await world.admin.list(PODS, { namespace: ns }, AbortSignal.timeout(10_000));
  const s = await until("the first word about the new pod", async () => {
    const told = await adapters.status(`${ns}/x`);
    return told?.pods?.some((p) => p.uid === now?.metadata.uid) ? told : undefined;
  });
  expect(s).toMatchObject({ phase: "Scheduled", readyReplicas: 0, pods: [{ name: "a", state: "Pending" }] });
  await until("no address is left", async () => (await adapters.addresses(`${ns}/x`)).length === 0);
  // A silent pod would hold up the deletion.
  await world.deletePod(silent);
});

test("writes that the API server refuses are told, an old Ready does not stay, and it comes back by itself", async () => {
  const deny = async (resource: string, verbs: string[]) => {
    const role = await world.get<{ rules: { resources: string[]; verbs: string[] }[] } & KubeObject>(
      "ClusterRole",
      "aibrix-controller-manager",
    );
    const rules = role?.rules.map((r) => (r.resources.includes(resource) ? { ...r, verbs: r.verbs.filter((v) => !verbs.includes(v)) } : r));
    await world.kubectl("patch", "clusterrole", "aibrix-controller-manager", "--type=merge", "-p", JSON.stringify({ rules }));
    const as = "--as=system:serviceaccount:aibrix-system:aibrix-controller-manager";
    // It exits with 1 for a no.
    const denied = () =>
      world.kubectl("auth", "can-i", verbs[0] ?? "", resource, "-n", ns, as).then(
        () => false,
        () => true,
      );
    await until(`${verbs[0]} ${resource} is denied`, denied);
  };
  const allow = () => world.apply("deploy/rbac/controller.yaml");
  const a = await pod("a");
  const controller = await world.controller();
  try {
    await deny("services", ["create", "patch"]);
    await world.applyObject(lora("x"));
    const why = await adapters.refusal(`${ns}/x`, "EndpointsNotWritten");
    expect(why).toMatch(/POST \/api\/v1\/namespaces\/.*403 Forbidden.*apply the controller's RBAC \(deploy\/rbac\) again/);
    expect(await adapters.status(`${ns}/x`)).toMatchObject({ readyReplicas: 0 });
    expect(await adapters.slices(`${ns}/x`)).toEqual([]);
    expect(a.runtime.loads).toEqual([]);
    await allow();
    await adapters.ready(`${ns}/x`);
    // Ready already: another pod cannot be published, and that is told.
    await deny("endpointslices", ["patch", "create"]);
    await pod("b");
    expect(await adapters.refusal(`${ns}/x`, "EndpointsNotWritten")).toMatch(/endpointslices.*403 Forbidden/);
    expect(await adapters.status(`${ns}/x`)).toMatchObject({ phase: "Bound", readyReplicas: 1 });
    expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
    await allow();
    await until("both are published", async () => (await adapters.addresses(`${ns}/x`)).length === 2);
    expect(await adapters.ready(`${ns}/x`)).toMatchObject({ phase: "Running", readyReplicas: 2 });
  } finally {
    await allow();
  }
  expect(controller.calls.filter((c) => c.verb !== "watch").length).toBeLessThan(120);
});

test("what was edited or deleted by hand is put back", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const [slice] = await adapters.slices(`${ns}/x`);
  await world.kubectl("delete", "service", "x", "-n", ns);
  await world.kubectl("delete", "endpointslice", slice?.metadata.name ?? "", "-n", ns);
  await until("both are back", async () => {
    const service = await world.get("Service", `${ns}/x`);
    return service !== undefined && (await adapters.addresses(`${ns}/x`)).includes(a.ip);
  });
  const edited = { spec: { selector: { app: "mine" }, ...SINGLE_STACK } };
  await world.kubectl("patch", "service", "x", "-n", ns, "--type=merge", "-p", JSON.stringify(edited));
  await until("the selector is gone", async () => {
    const service = await world.get<{ spec: { selector?: unknown } } & never>("Service", `${ns}/x`);
    return service !== undefined && (service as { spec: { selector?: unknown } }).spec.selector === undefined;
  });
  const told = async () =>
    (await world.kubectl("get", "events.events.k8s.io", "-n", ns, "-o", "jsonpath={.items[*].note}")).split("somebody ");
  await until("all three are told", async () => {
    const notes = await told();
    return ["deleted the Service", "edited the Service", "edited or deleted EndpointSlices"].every((n) =>
      notes.some((t) => t.startsWith(n)),
    );
  });
});

test("a name that a manifest of the sidecar holds is not touched", async () => {
  const a = await pod("a");
  a.runtime.putManifest("x", "/models/theirs");
  await world.controller();
  await world.applyObject(lora("x"));
  expect(await adapters.refusal(`${ns}/x`, "NameConflict")).toMatch(/from a manifest in its folder/);
  await adapters.remove(`${ns}/x`);
  expect(a.runtime.serving).toEqual(["x"]);
  expect(a.runtime.unloads).toEqual([]);
});

test("what somebody loaded by hand through the sidecar is not replaced, and is ours once they have unloaded it", async () => {
  const a = await pod("a");
  a.runtime.putByHand("x", "/models/theirs");
  await world.controller();
  await world.applyObject(lora("x"));
  expect(await adapters.refusal(`${ns}/x`, "NameConflict")).toMatch(/loaded by hand.*unload it there/);
  await adapters.remove(`${ns}/x`);
  expect(a.runtime.serving).toEqual(["x"]);
  await world.applyObject(lora("x"));
  await adapters.refusal(`${ns}/x`, "NameConflict");
  a.runtime.removeByHand("x");
  await adapters.ready(`${ns}/x`);
  const { uid } = (await world.get("ModelAdapter", `${ns}/x`))?.metadata ?? {};
  expect(a.runtime.owner("x")).toBe(`modeladapter/${ns}/x/${uid}`);
  // Another that somebody loads while all is watched is theirs, too.
  a.runtime.putByHand("y", "/models/theirs");
  await world.applyObject(lora("y"));
  await adapters.refusal(`${ns}/y`, "NameConflict");
  expect([a.runtime.loads.length, a.runtime.unloads]).toEqual([1, []]);
});

test("an adapter that is made again takes over what the one before it loaded, and takes it away in its turn", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const before = a.runtime.owner("x");
  await world.stopControllers();
  await world.kubectl("patch", "modeladapter", "x", "-n", ns, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  await world.remove("ModelAdapter", `${ns}/x`);
  await world.applyObject(lora("x"));
  await world.controller();
  await adapters.ready(`${ns}/x`);
  await until("the owner is another", () => a.runtime.owner("x") !== before && a.runtime.owner("x")?.startsWith(`modeladapter/${ns}/x/`));
  expect(a.runtime.unloads).toEqual([]);
  await adapters.remove(`${ns}/x`);
  expect(a.runtime.serving).toEqual([]);
});

test("requests may end before an adapter is unloaded: first out of the slices, then drained, and the finalizer last", async () => {
  const a = await pod("a");
  await world.controller(["--enable-runtime-sidecar", "--drain-grace-period=20s"]);
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  a.runtime.busy.add("x");
  await world.kubectl("delete", "modeladapter", "x", "-n", ns, "--wait=false");
  await until("it drains", () => a.runtime.unloads.length === 1);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  // Five of the twenty are for the unload.
  expect(a.runtime.graces[0]).toBeGreaterThan(10);
  expect(a.runtime.graces[0]).toBeLessThanOrEqual(15);
  expect(a.runtime.serving).toEqual(["x"]);
  expect((await world.get("ModelAdapter", `${ns}/x`))?.metadata.finalizers).toHaveLength(1);
  a.runtime.idle("x");
  await until("gone", async () => (await world.get("ModelAdapter", `${ns}/x`)) === undefined);
  expect(a.runtime.unloads).toHaveLength(1);
  // Lowered replicas drain, too, and a pod that is wanted again is taken back.
  await pod("b");
  await world.applyObject(lora("y", { podSelector: { matchLabels: { tier: "gold" } } }));
  await world.kubectl("label", "pod", "a", "-n", ns, "tier=gold");
  await adapters.ready(`${ns}/y`);
  a.runtime.busy.add("y");
  await world.kubectl("label", "pod", "a", "-n", ns, "tier-");
  await until("it drains", () => a.runtime.unloads.length === 2);
  expect(a.runtime.graces[1]).toBe(20);
  await world.kubectl("label", "pod", "a", "-n", ns, "tier=gold");
  await until("listed again", async () => (await adapters.addresses(`${ns}/y`)).includes(a.ip));
  expect(a.runtime.loads.filter((l) => l.lora_name === "y")).toHaveLength(2);
  a.runtime.idle("y");
});

test("a pod that left the selector, and one that was forgotten, is swept", async () => {
  const a = await pod("a", { labels: { tier: "gold" } });
  await world.controller();
  await world.applyObject(lora("x", { podSelector: { matchLabels: { tier: "gold" } } }));
  await adapters.ready(`${ns}/x`);
  await world.kubectl("label", "pod", "a", "-n", ns, "tier-");
  await until("unloaded", () => a.runtime.serving.length === 0);
  await until("Unloaded is told", async () => (await adapters.events(`${ns}/x`)).includes("Unloaded"));
  await world.kubectl("label", "pod", "a", "-n", ns, "tier=gold");
  await adapters.ready(`${ns}/x`);
  await world.stopControllers();
  await world.kubectl("patch", "modeladapter", "x", "-n", ns, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  await world.remove("ModelAdapter", `${ns}/x`);
  await world.controller();
  await until("swept", () => a.runtime.serving.length === 0);
});

test("a pod that is ending leaves the slices and finishes its requests: nothing is unloaded there, and no deletion waits for it", async () => {
  const [a, b] = [await pod("a", { nodeName: "node-1" }), await pod("b")];
  await world.controller();
  await world.applyObject(lora("x"));
  await until("both serve", async () => (await adapters.addresses(`${ns}/x`)).length === 2);
  // Nobody plays the kubelet of its node: it stays until it is forced out.
  await world.kubectl("delete", "pod", "a", "-n", ns, "--wait=false");
  await until("out of the slices", async () => (await adapters.addresses(`${ns}/x`)).join() === b.ip);
  await adapters.remove(`${ns}/x`);
  expect([a.runtime.unloads, b.runtime.unloads]).toEqual([[], ["x"]]);
});

test("a pod that lost the label that it is watched by gives its adapters up, and may come back", async () => {
  const a = await pod("a", { labels: { tier: "gold" } });
  const controller = await world.controller();
  await world.applyObject(lora("x", { podSelector: { matchLabels: { tier: "gold" } } }));
  await adapters.ready(`${ns}/x`);
  await world.kubectl("label", "pod", "a", "-n", ns, "model.aibrix.ai/name-");
  await until("unloaded", () => a.runtime.serving.length === 0);
  await adapters.refusal(`${ns}/x`, "NoMatchingPods");
  expect(await adapters.addresses(`${ns}/x`)).toEqual([]);
  await until("Unloaded is told", async () => (await adapters.events(`${ns}/x`)).includes("Unloaded"));
  expect(controller.calls.filter((c) => c.verb === "get" && c.resource === "pods")).toHaveLength(1);
  await world.kubectl("label", "pod", "a", "-n", ns, "model.aibrix.ai/name=back");
  await adapters.ready(`${ns}/x`);
  expect(a.runtime.loads).toHaveLength(2);
});

test("a pod that loses that label while no controller runs is swept by the next one", async () => {
  const a = await pod("a", { labels: { tier: "gold" } });
  const first = await world.controller();
  await world.applyObject(lora("x", { podSelector: { matchLabels: { tier: "gold" } } }));
  await adapters.ready(`${ns}/x`);
  await first.stop();
  await world.kubectl("label", "pod", "a", "-n", ns, "model.aibrix.ai/name-");
  await world.controller();
  await until("unloaded", () => a.runtime.serving.length === 0);
  await adapters.refusal(`${ns}/x`, "NoMatchingPods");
  await until("Unloaded is told", async () => (await adapters.events(`${ns}/x`)).includes("Unloaded"));
});

test("a sidecar that refuses an edit is told about it, keeps what it serves, and is not asked without end", async () => {
  const a = await pod("a", { labels: { tier: "gold" } });
  await world.controller();
  const spec = { podSelector: { matchLabels: { tier: "gold" } } };
  await world.applyObject(lora("x", spec));
  await adapters.ready(`${ns}/x`);
  a.runtime.ill = "500";
  const askedBefore = a.runtime.asked.length;
  await world.applyObject(lora("x", { ...spec, artifactURL: "huggingface://acme/other" }));
  const row = await until("the refusal is in the row", async () => {
    const [found] = (await adapters.status(`${ns}/x`))?.pods ?? [];
    return (found?.attempts ?? 0) >= 2 ? found : undefined;
  });
  expect(row).toMatchObject({ state: "Updating", reason: "RuntimeUnavailable", nextRetryTime: expect.any(String) });
  expect(await adapters.events(`${ns}/x`)).toContain("LoadFailed");
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
  expect(a.runtime.asked.length - askedBefore).toBeLessThan(6);
  a.runtime.ill = undefined;
  await until("the edit comes through", async () => {
    const [found] = (await adapters.status(`${ns}/x`))?.pods ?? [];
    return found?.state === "Serving" && found.attempts === undefined;
  });
});

test("a sidecar that hangs delays nothing but itself, and a deletion only for its bound", async () => {
  const [a, b] = [await pod("a"), await pod("b")];
  a.runtime.hangs = true;
  await world.controller();
  await world.applyObject(lora("x"));
  const s = await adapters.ready(`${ns}/x`);
  expect(s.readyReplicas).toBe(1);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([b.ip]);
  await world.applyObject(lora("y"));
  await adapters.ready(`${ns}/y`);
  await adapters.remove(`${ns}/y`);
  expect(b.runtime.serving).toEqual(["x"]);
});

test("a pod that is not ready is told what it should have as soon as its sidecar says that the engine answers", async () => {
  const a = await pod("a");
  const controller = await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const b = await pod("b", { ready: false });
  b.runtime.setEngine(false);
  await until("the sidecar is followed", () => b.runtime.watches > 0);
  await adapters.decided(`${ns}/x`, controller);
  expect(b.runtime.loads).toEqual([]);
  // Nothing of the pod changes for the API server.
  b.runtime.setEngine(true);
  await until("it is told", () => b.runtime.loads.length === 1);
  expect(await adapters.addresses(`${ns}/x`)).toEqual([a.ip]);
});

test("the controller's restart takes nothing out of service and loads nothing twice", async () => {
  const a = await pod("a");
  await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  const [before] = await adapters.slices(`${ns}/x`);
  await world.stopControllers();
  const second = await world.controller();
  await until("it has caught up", () => a.runtime.watches >= 2 && second.notReady() === undefined);
  await world.applyObject(lora("y"));
  await adapters.ready(`${ns}/y`);
  const [after] = await adapters.slices(`${ns}/x`);
  expect(after?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
  expect(a.runtime.loads.map((l) => l.lora_name)).toEqual(["x", "y"]);
});

test("a restarted controller says nothing again that a sidecar has accepted with a Secret, and says a changed one", async () => {
  const a = await pod("a");
  const secret = (k: string) =>
    world.applyObject({ apiVersion: "v1", kind: "Secret", metadata: { name: "key", namespace: ns }, stringData: { k } } as never);
  await secret("sk-1");
  await world.controller();
  await world.applyObject(lora("x", { apiKeySecretRef: { name: "key", key: "k" } }));
  await adapters.ready(`${ns}/x`);
  await until("it is written down", async () => (await adapters.status(`${ns}/x`))?.pods?.[0]?.acceptedFingerprint !== undefined);
  await world.stopControllers();
  const second = await world.controller();
  await until("it has caught up", () => a.runtime.watches >= 2);
  await adapters.decided(`${ns}/x`, second);
  expect(a.runtime.loads).toHaveLength(1);
  await world.stopControllers();
  await secret("sk-2");
  await world.controller();
  await until("the changed key is said", () => a.runtime.loads.length === 2);
  expect(a.runtime.loads[1]?.additional_config).toEqual({ "api-key": "sk-2" });
  await world.stopControllers();
  // The sidecar's process is another one: it has lost the key.
  a.runtime.restart();
  await world.controller();
  await until("the key is said again", () => a.runtime.loads.length === 3);
});

test("a label that contradicts the name, and an engine that is not vLLM, are told", async () => {
  await pod("a", { labels: { "model.aibrix.ai/engine": "sglang" } });
  await world.controller();
  await world.applyObject(lora("x", {}, { labels: { "model.aibrix.ai/name": "other" } }));
  expect(await adapters.refusal(`${ns}/x`, "EngineNotSupported")).toMatch(/runs the engine sglang .*: only vllm takes adapters/);
  const s = await adapters.status(`${ns}/x`);
  expect(s?.conditions?.map((c) => c.type)).toEqual(["Initialized", "Scheduled", "Ready", "NameLabel"]);
  expect(s?.conditions?.[3]?.message).toMatch(/the label model.aibrix.ai\/name is other, but the adapter is served as x/);
});

test("--namespace: other namespaces are left alone", async () => {
  const [a, other] = [await pod("a"), await world.pod("other", { namespace: "default" })];
  await world.controller(["--enable-runtime-sidecar", `--namespace=${ns}`]);
  await world.applyObject(lora("x"));
  await world.applyObject(adapter("elsewhere"));
  await adapters.ready(`${ns}/x`);
  expect(await adapters.status("default/elsewhere")).toBeUndefined();
  expect([a.runtime.watches, other.runtime.watches]).toEqual([1, 0]);
  await world.remove("ModelAdapter", "default/elsewhere");
  await world.deletePod(other);
});

test("at rest nothing is asked and nothing is written", async () => {
  await pod("a");
  const controller = await world.controller();
  await world.applyObject(lora("x"));
  await adapters.ready(`${ns}/x`);
  await until("the story is told", async () => (await adapters.events(`${ns}/x`)).includes("Loaded"));
  const mine = () => controller.calls.filter((c) => c.verb !== "watch").length;
  let last = -1;
  const rests = () => {
    const now = mine();
    const same = now === last;
    last = now;
    return same;
  };
  await until("it rests", rests, 30_000, 1_000);
  const before = mine();
  await world.setReady(made[0] as FakePod, true);
  await adapters.decided(`${ns}/x`, controller);
  expect(mine()).toBe(before);
});

import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { readManifests } from "./manifests.ts";

const RENDERED = `
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: a}
data: {image: not/an:image}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: a}
spec:
  template:
    spec:
      initContainers: [{name: i, image: aibrix/init:dev}]
      containers: [{name: c, image: aibrix/app:dev, env: [{name: image, value: x}]}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: e, namespace: a}
spec: {provider: {kubernetes: {envoyDeployment: {container: {image: docker.io/envoyproxy/envoy:v1}}}}}
`;

test("without a registry nothing is changed; the Deployments and images are named", () => {
  const { text, deployments, images } = readManifests(RENDERED, undefined);
  const objects = (yaml: string) => parseAllDocuments(yaml).map((d) => d.toJS());
  expect(objects(text)).toEqual(objects(RENDERED));
  expect({ deployments, images }).toEqual({
    deployments: [{ name: "d", namespace: "a" }],
    images: ["aibrix/app:dev", "aibrix/init:dev", "docker.io/envoyproxy/envoy:v1"],
  });
});

test("a registry goes before the images of containers and of nothing else, in the place of docker.io", () => {
  const { text, images } = readManifests(RENDERED, "r.example/dev");
  expect(images).toEqual(["r.example/dev/aibrix/app:dev", "r.example/dev/aibrix/init:dev", "r.example/dev/envoyproxy/envoy:v1"]);
  expect(text).toContain("image: r.example/dev/aibrix/app:dev");
  expect(text).toContain("image: not/an:image");
});

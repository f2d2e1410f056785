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
`;

test("without a registry nothing is changed; the Deployments and images are named", () => {
  const { text, deployments, images } = readManifests(RENDERED, undefined);
  const objects = (yaml: string) => parseAllDocuments(yaml).map((d) => d.toJS());
  expect(objects(text)).toEqual(objects(RENDERED));
  expect({ deployments, images }).toEqual({ deployments: [{ name: "d", namespace: "a" }], images: ["aibrix/app:dev", "aibrix/init:dev"] });
});

test("a registry goes before the images of containers and of nothing else", () => {
  const { text, images } = readManifests(RENDERED, "r.example/dev");
  expect(images).toEqual(["r.example/dev/aibrix/app:dev", "r.example/dev/aibrix/init:dev"]);
  expect(text).toContain("image: r.example/dev/aibrix/app:dev");
  expect(text).toContain("image: not/an:image");
});

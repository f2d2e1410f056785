import { expect, test } from "vitest";
import { PartError } from "../../parts/part-context.ts";
import { chooseImage, machineArchitecture } from "./platform.ts";
import type { IndexEntry } from "./types.ts";

const entry = (size: number, platform?: string): IndexEntry => {
  const [os = "", architecture = ""] = platform?.split("/") ?? [];
  return { mediaType: "m", digest: "d", size, ...(platform === undefined ? {} : { platform: { os, architecture } }) };
};
const OFFICIAL = [entry(1, "linux/amd64"), entry(2, "linux/arm64"), entry(3, "unknown/unknown"), entry(4, "windows/amd64")];

test.each([
  { name: "amd64 of many", entries: OFFICIAL, architecture: "amd64", want: 1 },
  { name: "arm64, which is not the first of Linux", entries: OFFICIAL, architecture: "arm64", want: 2 },
  { name: "Linux, not another system", entries: OFFICIAL.toReversed(), architecture: "amd64", want: 1 },
  { name: "no attestation", entries: [entry(1, "unknown/unknown"), entry(2, "linux/arm64")], architecture: "arm64", want: 2 },
  { name: "what was built and names no platform", entries: [entry(1, "unknown/unknown"), entry(2)], architecture: "amd64", want: 2 },
  {
    name: "what names the platform rather than what does not",
    entries: [entry(1), entry(2, "linux/amd64")],
    architecture: "amd64",
    want: 2,
  },
])("taken is $name", ({ entries, architecture, want }) => {
  expect(chooseImage(entries, architecture).size).toBe(want);
});

test("an image of other processors alone is refused, and what there is is named", () => {
  const others = [entry(1, "linux/arm64"), entry(2, "unknown/unknown")];
  expect(() => chooseImage(others, "amd64")).toThrow(PartError);
  expect(() => chooseImage(others, "amd64")).toThrow("not there for linux/amd64 (there is linux/arm64, unknown/unknown)");
});

test.each([
  ["x64", "amd64"],
  ["arm64", "arm64"],
  ["ppc64", "ppc64le"],
])("Node's %s is %s in images", (node, oci) => {
  expect(machineArchitecture(node)).toBe(oci);
});

import { expect, test } from "vitest";
import { gpuPatch } from "./gpus.ts";

const add = (field: string) => ({ op: "add", path: `/status/${field}/nvidia.com~1gpu`, value: "8" });

test.each([
  { name: "a node that has not told its status", status: undefined, want: [] },
  { name: "a new node", status: { capacity: { cpu: "2" }, allocatable: { cpu: "2" } }, want: [add("capacity"), add("allocatable")] },
  {
    name: "a node whose kubelet started again",
    status: { capacity: { "nvidia.com/gpu": "0" }, allocatable: { "nvidia.com/gpu": "0" } },
    want: [add("capacity"), add("allocatable")],
  },
  {
    name: "a node half patched",
    status: { capacity: { "nvidia.com/gpu": "8" }, allocatable: { "nvidia.com/gpu": "0" } },
    want: [add("allocatable")],
  },
  { name: "a node that offers them", status: { capacity: { "nvidia.com/gpu": "8" }, allocatable: { "nvidia.com/gpu": "8" } }, want: [] },
])("$name", ({ status, want }) => {
  expect(gpuPatch(status === undefined ? {} : { status })).toEqual(want);
});

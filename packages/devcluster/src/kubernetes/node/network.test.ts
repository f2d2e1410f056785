import { expect, test } from "vitest";
import { chooseSubnet } from "./network.ts";

test.each([
  { name: "the place that the id decides", id: "00000001", taken: [], want: "10.213.0.6" },
  { name: "the next one where an interface has it", id: "00000001", taken: ["10.213.0.5/30"], want: "10.213.0.10" },
  { name: "the first one after the last", id: "00003fff", taken: ["10.213.255.253/30"], want: "10.213.0.2" },
  { name: "one outside a network of another size", id: "00000000", taken: ["10.213.0.77/24"], want: "10.213.1.2" },
  { name: "one within a very wide network", id: "00000000", taken: ["10.0.0.5/8", "fe80::1/64"], want: "10.213.0.2" },
  { name: "one that is not the address of a very wide network", id: "00000000", taken: ["10.213.0.2/8"], want: "10.213.0.6" },
  { name: "none where all are in use", id: "00000000", taken: ["10.213.7.7/16"], want: undefined },
])("chooses $name", ({ id, taken, want }) => {
  expect(chooseSubnet(id, taken)?.node).toBe(want);
});

test("host and node are neighbours in it", () => {
  expect(chooseSubnet("00000001", [])).toEqual({ host: "10.213.0.5", node: "10.213.0.6", prefix: 30 });
});

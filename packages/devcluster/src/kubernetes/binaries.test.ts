import { expect, test } from "vitest";
import { isRecent } from "./binaries.ts";

test.each([
  { output: "Kubernetes v1.37.2\n", want: true },
  { output: "Kubernetes v1.33.0-rc.1\n", want: true },
  { output: "Kubernetes v1.32.9\n", want: false },
  { output: "Kubernetes v0.0.0-master+$Format:%H$\n", want: false },
  { output: "", want: false },
])("a kube-apiserver that says $output is taken: $want", ({ output, want }) => {
  expect(isRecent(output)).toBe(want);
});

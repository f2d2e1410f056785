import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UsageError } from "./errors.ts";
import { readStartOptions } from "./options.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "aibrix-options-"));
  writeFileSync(join(dir, "config"), "");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const read = (...argv: string[]) => readStartOptions(argv, { cwd: dir, workspace: "/workspace" });
const refusal = (...argv: string[]): string => {
  try {
    read(...argv);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "";
};

const DEFAULTS = {
  mode: "kubernetes",
  detach: false,
  dir: "/workspace/.aibrix",
  cluster: undefined,
  kubeconfig: undefined,
  imageRegistry: undefined,
  engine: "mock",
};

test("--kubernetes alone leaves the cluster to the machine", () => {
  expect(read("--kubernetes")).toEqual(DEFAULTS);
});

test("--cluster and --kubeconfig mean Kubernetes also without the flag", () => {
  expect(read("--cluster", "node", "--engine=vllm", "--detach")).toEqual({ ...DEFAULTS, cluster: "node", engine: "vllm", detach: true });
  expect(read("--kubeconfig", "config", "--image-registry=registry.example.com:5000/dev")).toEqual({
    ...DEFAULTS,
    kubeconfig: join(dir, "config"),
    imageRegistry: "registry.example.com:5000/dev",
  });
});

test.each([
  { argv: ["--kubernetes", "--cluster=minikube"], says: /--cluster=minikube must be node or kind/ },
  { argv: ["--kubernetes", "--engine=sglang"], says: /--engine=sglang must be mock or vllm/ },
  { argv: ["--cluster=kind", "--kubeconfig=config"], says: /--cluster has nothing to start: leave one of them out/ },
  { argv: ["--kubeconfig=missing"], says: /missing cannot be read \(ENOENT\): name the file that kubectl uses/ },
  { argv: ["--kubernetes", "--image-registry=a"], says: /--image-registry goes with --kubeconfig/ },
  { argv: ["--kubeconfig=config", "--image-registry=http://a"], says: /must be what stands before an image's name/ },
])("$argv is refused in words", ({ argv, says }) => {
  expect(refusal(...argv)).toMatch(says);
});

test("flags of the stack without Kubernetes are refused together, each with what to do instead", () => {
  const said = refusal("--kubernetes", "--port=1", "--s3", "--engines=2", "--adapters=x", "--kubeconfig=missing");
  for (const flag of ["port", "s3", "engines", "adapters"])
    expect(said).toMatch(new RegExp(`^--${flag} has no meaning on Kubernetes: \\w+`, "m"));
  expect(said).toContain("cannot be read");
});

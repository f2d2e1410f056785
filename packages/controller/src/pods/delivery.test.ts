import type { Pod, VolumeMount } from "@aibrix/kube";
import { describe, expect, test } from "vitest";
import { type Delivery, delivery, deliveryRequest } from "./delivery.ts";

const DEFAULT = "/tmp/aibrix/adapters";
const mount = (mountPath: string, more: Partial<VolumeMount> = {}): VolumeMount => ({ name: "v", mountPath, ...more });

interface Given {
  readonly engine?: readonly VolumeMount[];
  /** `null`: no sidecar. */
  readonly runtime?: readonly VolumeMount[] | null;
  readonly runtimeArgs?: readonly string[];
  readonly volume?: Record<string, unknown>;
}

function pod({ engine = [], runtime = [], runtimeArgs = [], volume = { emptyDir: {} } }: Given): Pod {
  return {
    metadata: { name: "p" },
    spec: {
      containers: [
        { name: "vllm", volumeMounts: engine },
        ...(runtime === null ? [] : [{ name: "aibrix-runtime", args: runtimeArgs, volumeMounts: runtime }]),
      ],
      volumes: [
        { name: "v", ...volume },
        { name: "w", emptyDir: {} },
      ],
    },
  };
}

function decide(given: Given, url = "s3://bucket/x", viaRuntime = true, hasCredentials = false): Delivery {
  return delivery(pod(given), { artifactURL: url, hasCredentials }, viaRuntime);
}

describe("a volume that both see", () => {
  test.each<{ name: string; given: Given; want: readonly [string, string] | "refused" }>([
    { name: "at the default path", given: { engine: [mount(DEFAULT)], runtime: [mount(DEFAULT)] }, want: [DEFAULT, DEFAULT] },
    {
      name: "above the default path",
      given: { engine: [mount("/tmp/aibrix/")], runtime: [mount("/tmp/aibrix")] },
      want: [DEFAULT, DEFAULT],
    },
    { name: "at another path", given: { engine: [mount("/shared")], runtime: [mount("/shared")] }, want: ["/shared", "/shared"] },
    { name: "at two different paths", given: { engine: [mount("/e")], runtime: [mount("/r")] }, want: ["/r", "/e"] },
    { name: "at the default path of the sidecar only", given: { engine: [mount("/e")], runtime: [mount(DEFAULT)] }, want: [DEFAULT, "/e"] },
    {
      name: "where --artifacts-dir says",
      given: { engine: [mount("/e")], runtime: [mount("/data")], runtimeArgs: ["--artifacts-dir=/data/adapters"] },
      want: ["/data/adapters", "/e/adapters"],
    },
    {
      name: "the same part of it",
      given: { engine: [mount("/e", { subPath: "a" })], runtime: [mount("/r", { subPath: "a/" })] },
      want: ["/r", "/e"],
    },
    {
      name: "of which the sidecar mounts a part",
      given: { engine: [mount("/e")], runtime: [mount("/r", { subPath: "a/b" })] },
      want: ["/r", "/e/a/b"],
    },
    {
      name: "of which the engine mounts a part",
      given: { engine: [mount("/e", { subPath: "a" })], runtime: [mount("/r")] },
      want: ["/r/a", "/e"],
    },
    {
      name: "but different parts of it",
      given: { engine: [mount("/e", { subPath: "a" })], runtime: [mount("/r", { subPath: "b" })] },
      want: "refused",
    },
    {
      name: "but parts with a common beginning of the name",
      given: { engine: [mount("/e", { subPath: "a" })], runtime: [mount("/r", { subPath: "ab" })] },
      want: "refused",
    },
    {
      name: "by expressions that differ",
      given: { engine: [mount("/e", { subPathExpr: "$(A)" })], runtime: [mount("/r", { subPathExpr: "$(B)" })] },
      want: "refused",
    },
    {
      name: "that the engine only reads",
      given: { engine: [mount(DEFAULT, { readOnly: true })], runtime: [mount(DEFAULT)] },
      want: [DEFAULT, DEFAULT],
    },
    {
      name: "that the sidecar cannot write",
      given: { engine: [mount(DEFAULT)], runtime: [mount(DEFAULT, { readOnly: true })] },
      want: "refused",
    },
    {
      name: "that holds settings",
      given: { engine: [mount(DEFAULT)], runtime: [mount(DEFAULT)], volume: { configMap: { name: "c" } } },
      want: "refused",
    },
    { name: "that is shared memory", given: { engine: [mount("/dev/shm")], runtime: [mount("/dev/shm")] }, want: "refused" },
    { name: "that only one mounts", given: { engine: [], runtime: [mount(DEFAULT)] }, want: "refused" },
    {
      name: "hidden in the engine by another mount",
      given: { engine: [mount("/tmp/aibrix"), { name: "w", mountPath: DEFAULT }], runtime: [mount("/tmp/aibrix")] },
      want: ["/tmp/aibrix", "/tmp/aibrix"],
    },
  ])("$name", ({ given, want }) => {
    const d = decide(given);
    expect(d).toMatchObject(want === "refused" ? { kind: "refused" } : { kind: "volume", runtimeDir: want[0], engineDir: want[1] });
  });
});

describe("without one", () => {
  test.each([
    {
      name: "s3:// names the volume",
      given: {},
      url: "s3://bucket/x",
      via: true,
      want: /mount it at \/tmp\/aibrix\/adapters in both containers, vllm and aibrix-runtime/,
    },
    {
      name: "s3:// names the flag",
      given: {},
      url: "s3://bucket/x",
      via: false,
      want: /start the controller with --enable-runtime-sidecar/,
    },
    {
      name: "s3:// names the sidecar",
      given: { runtime: null },
      url: "s3://bucket/x",
      via: false,
      want: /add the sidecar aibrix-runtime to the pod, with a volume/,
    },
    {
      name: "a revision cannot be pinned",
      given: {},
      url: "hf://o/r@main",
      via: true,
      want: /cannot pin the revision main: .*or leave the revision out/,
    },
    {
      name: "gs:// names the volume",
      given: {},
      url: "gs://bucket/x",
      via: true,
      want: /knows no gs:\/\/ artifacts.*add an emptyDir volume/,
    },
    {
      name: "an archive names the volume",
      given: {},
      url: "https://host/x.tar.gz",
      via: true,
      want: /knows no https:\/\/ artifacts.*add an emptyDir volume/,
    },
    {
      name: "a folder of a repository names the volume",
      given: {},
      url: "hf://o/r/sub",
      via: true,
      want: /cannot take the folder sub alone: add an emptyDir/,
    },
    {
      name: "a pin names the volume",
      given: {},
      url: `hf://o/r#sha256=${"a".repeat(64)}`,
      via: true,
      want: /cannot check its content against a pin: add an emptyDir/,
    },
    {
      name: "a path with a pin names the mount",
      given: { engine: [mount("/models")] },
      url: `/models/x#sha256=${"a".repeat(64)}`,
      via: true,
      want: /mount the volume of \/models\/x at the same path in aibrix-runtime too, or leave #sha256= out/,
    },
    {
      name: "a path with a pin names the sidecar",
      given: { runtime: null },
      url: `/models/x#sha256=${"a".repeat(64)}`,
      via: false,
      want: /add the sidecar aibrix-runtime to the pod, that mounts \/models\/x as the engine does/,
    },
  ])("$name", ({ given, url, via, want }) => {
    const d = decide(given, url, via);
    expect(d).toMatchObject({ kind: "refused", reason: "VolumeMissing", message: expect.stringMatching(want) });
  });

  test("a URL of no known kind is refused in words that say what to write", () => {
    expect(decide({}, "ftp://x")).toMatchObject({
      kind: "refused",
      reason: "InvalidArtifactURL",
      message: expect.stringMatching(/write hugging/),
    });
  });

  test("huggingface:// is the engine's to download, and the note says what that means", () => {
    expect(decide({}, "huggingface://o/r")).toMatchObject({
      kind: "engine",
      repo: "o/r",
      note: expect.stringMatching(/without check or pin/),
    });
    expect(decide({}, "huggingface://o/r", true, true)).toMatchObject({ note: expect.stringMatching(/cannot be given the credentials/) });
  });
});

test.each([
  { name: "seen by both", given: { engine: [mount("/models")], runtime: [mount("/models")] }, checked: true },
  { name: "seen by the engine alone", given: { engine: [mount("/models")] }, checked: false },
  { name: "elsewhere in the sidecar", given: { engine: [mount("/models")], runtime: [mount("/other")] }, checked: false },
  { name: "in the engine's image", given: {}, checked: false },
])("an absolute path $name is passed as it is", ({ given, checked }) => {
  expect(decide(given, "/models/x")).toEqual({ kind: "asIs", path: "/models/x", checked });
});

test("a path with a pin is the engine's where the sidecar checks it", () => {
  const given = { engine: [mount("/models")], runtime: [mount("/models")] };
  expect(decide(given, `/models/x#sha256=${"a".repeat(64)}`)).toEqual({ kind: "asIs", path: "/models/x", checked: true });
});

test("what the load call says", () => {
  expect(deliveryRequest({ kind: "volume", runtimeDir: "/r", engineDir: "/e" })).toEqual({
    mode: "volume",
    runtime_dir: "/r",
    engine_dir: "/e",
  });
  expect(deliveryRequest({ kind: "engine", repo: "o/r", note: "" })).toEqual({ mode: "engine" });
  expect(deliveryRequest({ kind: "asIs", path: "/x", checked: true })).toBeUndefined();
  expect(deliveryRequest({ kind: "asIs", path: "/x", checked: false })).toEqual({ mode: "engine" });
});

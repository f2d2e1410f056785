import { describe, expect, test } from "vitest";
import { type ElfFacts, parseNeeded, parseSymbols, parseVersions } from "./elf.ts";
import { planStubs, stubSource, versionScript } from "./stub-libraries.ts";

describe("readelf's output", () => {
  test("needed libraries", () => {
    const text = ` 0x0000000000000001 (NEEDED)             Shared library: [libcublas.so.13]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000e (SONAME)             Library soname: [libtorch_cuda.so]`;
    expect(parseNeeded(text)).toEqual(["libcublas.so.13", "libc.so.6"]);
  });

  test("which library a version comes from", () => {
    const text = `Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libcublas.so.13  Cnt: 1
  0x0010:   Name: libcublas.so.13  Flags: none  Version: 7
  0x0020: Version: 1  File: libc.so.6  Cnt: 2
  0x0030:   Name: GLIBC_2.34  Flags: none  Version: 6
  0x0040:   Name: GLIBC_2.2.5  Flags: none  Version: 5`;
    expect([...parseVersions(text)]).toEqual([
      ["libcublas.so.13", "libcublas.so.13"],
      ["GLIBC_2.34", "libc.so.6"],
      ["GLIBC_2.2.5", "libc.so.6"],
    ]);
  });

  test("symbols", () => {
    const text = `   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cublasCreate_v2@libcublas.so.13 (7)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND ncclGetVersion
     3: 0000000000000000     0 FUNC    WEAK   DEFAULT  UND cudaWeak
     4: 0000000000001000    16 FUNC    GLOBAL DEFAULT   12 offered@@V1`;
    expect(parseSymbols(text)).toEqual({
      undefined: [
        { name: "cublasCreate_v2", version: "libcublas.so.13" },
        { name: "ncclGetVersion", version: "" },
      ],
      defined: ["offered"],
    });
  });
});

describe("planning", () => {
  const library = (facts: Partial<ElfFacts>): ElfFacts => ({ needed: [], versionFrom: new Map(), undefined: [], defined: [], ...facts });
  const torch = library({
    needed: ["libcublas.so.13", "libcudart.so.13", "libnccl.so.2", "libc.so.6", "libcuda.so.1"],
    versionFrom: new Map([
      ["libcublas.so.13", "libcublas.so.13"],
      ["GLIBC_2.34", "libc.so.6"],
    ]),
    undefined: [
      { name: "cublasCreate_v2", version: "libcublas.so.13" },
      { name: "ncclGetVersion", version: "" },
      { name: "cudaMalloc", version: "" },
      { name: "malloc", version: "GLIBC_2.34" },
      { name: "jpeg_start", version: "" },
    ],
  });
  const cudart = library({ defined: ["cudaMalloc"] });
  const stubs = planStubs([torch, cudart], new Set(["libcudart.so.13"]));

  test("what is missing gets what others ask of it; the system, the driver and what is there get nothing", () => {
    expect(stubs).toEqual([
      {
        library: "libcublas.so.13",
        symbols: [
          { name: "cublasCreate_v2", version: "libcublas.so.13" },
          { name: "ncclGetVersion", version: "" },
        ],
      },
      { library: "libnccl.so.2", symbols: [] },
    ]);
  });

  test("source and version script", () => {
    const [cublas, nccl] = stubs;
    if (cublas === undefined || nccl === undefined) throw new Error("two stubs are planned");
    expect(stubSource(cublas)).toContain('void cublasCreate_v2(void) { called("cublasCreate_v2"); }');
    expect(versionScript(cublas)).toBe("libcublas.so.13 { global: cublasCreate_v2; };\n");
    expect(versionScript(nccl)).toBeUndefined();
  });
});

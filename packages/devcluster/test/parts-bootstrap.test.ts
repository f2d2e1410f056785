import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const PACKAGE = join(import.meta.dirname, "..");

let root: string;
let cache: string;
let bin: string;
const children: ChildProcess[] = [];

/** A checkout of the bootstrap alone, and a PATH on which nothing is but what a test puts there. */
beforeEach(async () => {
  const dir = await mkdtemp(join(tmpdir(), "bootstrap-"));
  root = join(dir, "checkout");
  cache = join(dir, "cache");
  bin = join(dir, "bin");
  await mkdir(bin);
  await cp(join(PACKAGE, "bootstrap.mjs"), join(root, "packages/devcluster/bootstrap.mjs"));
  await cp(join(PACKAGE, "src"), join(root, "packages/devcluster/src"), { recursive: true });
  await cp(join(PACKAGE, "../../package.json"), join(root, "package.json"));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await rm(dirname(root), { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [join(root, "packages/devcluster/bootstrap.mjs"), ...args], {
    env: {
      AIBRIX_CACHE_DIR: cache,
      PATH: bin,
      HOME: root,
      AIBRIX_ENVOY_BIN: process.execPath,
      AIBRIX_VERSITYGW_BIN: process.execPath,
      AIBRIX_FAKE_GCS_BIN: process.execPath,
      AIBRIX_NGINX_BIN: process.execPath,
      KUBEBUILDER_ASSETS: bin,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  return child;
}

async function end(child: ChildProcess): Promise<Ended> {
  const out = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => {
    out.stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    out.stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, ...out };
}

const bootstrap = (args: readonly string[], env?: Record<string, string>): Promise<Ended> => end(start(args, env));

async function program(path: string, script: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
  await chmod(path, 0o755);
}

/** npm that "installs" a pnpm, which "installs" turbo and vitest: each says what it was told. */
async function fakeTools(): Promise<void> {
  const write = (path: string, body: string): string =>
    `mkdir -p "$(dirname ${path})"; printf '#!/bin/sh\\n${body}\\n' > ${path}; chmod +x ${path}`;
  const tools = [
    write("node_modules/.bin/turbo", "echo Cached:    1 cached, 2 total"),
    write("node_modules/.bin/vitest", 'echo vitest "$@" engine=$AIBRIX_E2E_ENGINE; exit 9'),
  ];
  await writeFile(join(bin, "pnpm-does"), `${tools.join("\n")}\n`);
  for (const name of ["etcd", "kube-apiserver", "kubectl"]) await program(join(bin, name), "exit 0");
  await program(join(bin, "npm"), write("$3/node_modules/.bin/pnpm", `PATH=/usr/bin:/bin . ${join(bin, "pnpm-does")}`));
}

test("the help names every script of package.json", async () => {
  const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const { code, stdout } = await bootstrap(["--help"]);
  expect(code).toBe(0);
  for (const name of Object.keys(scripts)) expect(stdout).toContain(`npm run ${name} `);
});

test("an engine that does not exist is refused before anything is fetched", async () => {
  const { code, stderr } = await bootstrap(["e2e", "--engine", "vlm"]);
  expect(code).toBe(1);
  expect(stderr).toBe("error: --engine vlm: write mock or vllm\n");
  await expect(readdir(cache)).rejects.toThrow("ENOENT");
});

test.each([
  { args: [], said: "parts" },
  { args: ["vllm", "moon"], said: "moon" },
])("parts of $args: what can be had is told, and nothing is fetched", async ({ args, said }) => {
  const { code, stderr } = await bootstrap(["parts", ...args]);
  expect(code).toBe(1);
  expect(stderr).toBe(`error: ${said}: write what is needed, as in npm run parts -- vllm cluster\n`);
  await expect(readdir(cache)).rejects.toThrow("ENOENT");
});

test("an unknown command is told, with the help", async () => {
  const { code, stderr } = await bootstrap(["strat"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error: no command strat\n\nusage: /);
});

test.each(["stop", "status"])("%s before any build says that nothing runs, and fetches nothing", async (command) => {
  expect(await bootstrap([command])).toEqual({ code: 0, stdout: "nothing is running (the project was not built yet)\n", stderr: "" });
  await expect(readdir(cache)).rejects.toThrow("ENOENT");
});

test("without npm it says what to install", async () => {
  const { code, stderr } = await bootstrap(["build"]);
  expect(code).toBe(1);
  expect(stderr).toContain("error: npm is not on PATH: install it");
});

test("an unreachable registry is told in one line, and nothing stays behind", async () => {
  await program(join(bin, "npm"), "echo 'npm error FetchError: request failed, reason: connect ECONNREFUSED 127.0.0.1:9' >&2; exit 1");
  const { code, stderr } = await bootstrap(["build"]);
  expect(code).toBe(1);
  expect(stderr).toContain(
    "npm cannot reach its registry (FetchError: request failed, reason: connect ECONNREFUSED 127.0.0.1:9).\nCheck the network",
  );
  expect(await readdir(cache)).toEqual(["locks"]);
});

describe("a command", () => {
  beforeEach(fakeTools);

  test("gets its tools once, then says nothing but what it runs", async () => {
    const first = await bootstrap(["test", "some.test.ts"]);
    expect(first.stderr.replace(/[\d.]+ s/g, "T")).toBe(
      [
        "fetching pnpm 12.21.0 ...",
        "fetching pnpm 12.21.0: done in T",
        "installing libraries ...",
        "installing libraries: done in T",
        "building the packages: done in T",
        "",
      ].join("\n"),
    );
    expect(first.stdout).toBe("vitest run --project unit --project component some.test.ts engine=\n");
    expect(first.code).toBe(9);
    const second = await bootstrap(["test", "--project", "unit"]);
    expect(second.stderr).toMatch(/^building the packages: done in [\d.]+ s\n$/);
    expect(second.stdout).toBe("vitest run --project unit engine=\n");
  });

  test("installs again when a package.json changed", async () => {
    await bootstrap(["test"]);
    await mkdir(join(root, "packages/new"));
    await writeFile(join(root, "packages/new/package.json"), "{}");
    expect((await bootstrap(["test"])).stderr).toContain("installing libraries: done");
  });

  test("e2e turns its flags into variables", async () => {
    const args = ["e2e", "--engine", "vllm", "some.test.ts", "-t", "name"];
    const { stdout } = await bootstrap(args, { AIBRIX_VLLM_BIN: process.execPath });
    expect(stdout).toBe("vitest run --project e2e some.test.ts -t name engine=vllm\n");
    expect((await bootstrap(["e2e", "--engine"])).stderr).toContain("error: --engine needs a value");
  });

  test("gets the parts that tests need before they start, and only for those", async () => {
    const missing = { AIBRIX_VERSITYGW_BIN: "", AIBRIX_VLLM_BIN: "/nothing" };
    const { code, stdout, stderr } = await bootstrap(["test"], missing);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("error: the S3 server versitygw 1.8.0 is built with Go, and there is no go on PATH. Install Go");
    expect((await bootstrap(["e2e", "--engine", "vllm"], missing)).code).toBe(1);
    expect((await bootstrap(["test", "--project", "unit"], missing)).code).toBe(9);
  });

  test("a failed build shows what the compiler said", async () => {
    await bootstrap(["test"]);
    await program(join(root, "node_modules/.bin/turbo"), "echo src/index.ts: error TS9999; exit 2");
    const { code, stderr } = await bootstrap(["build"]);
    expect(code).toBe(1);
    expect(stderr).toContain("ended with 2\nsrc/index.ts: error TS9999");
  });
});

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s reaches the program, whose exit code is ours", async (signal) => {
  await mkdir(join(root, "packages/devcluster/dist"));
  const main = `process.on("${signal}", () => process.exit(7));
    setTimeout(() => process.exit(1), 20_000);
    console.log("up", process.argv.slice(2).join(" "));`;
  await writeFile(join(root, "packages/devcluster/dist/main.js"), main);
  const child = start(["status", "--watch"]);
  const ended = end(child);
  if (child.stdout !== null) await once(child.stdout, "data");
  child.kill(signal);
  expect(await ended).toEqual({ code: 7, stdout: "up status --watch\n", stderr: "" });
});

test("what the bootstrap imports before anything is installed needs nothing that is installed", async () => {
  const seen = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    if (seen.has(path)) return;
    seen.add(path);
    const text = await readFile(path, "utf8");
    for (const [, specifier = ""] of text.matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
      if (specifier.startsWith(".")) await visit(join(dirname(path), specifier));
      else expect(specifier, `imported by ${path}`).toMatch(/^node:/);
    }
  };
  await visit(join(PACKAGE, "bootstrap.mjs"));
  expect([...seen].map((path) => path.slice(PACKAGE.length + 1))).toEqual(expect.arrayContaining(["bootstrap.mjs", "src/parts/lock.ts"]));
});

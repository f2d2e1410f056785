// The programs of the images, each as a few files without node_modules: an image a fraction as large, and a start in a third of the time.
// `rolldown -c` after `tsc -b`; every folder below OUT (default `bundle`) is one program's /app.
const PROGRAMS = {
  controller: { main: "dist/main.js" },
  gateway: { main: "dist/main.js" },
  // A thread's file is found by its name beside the program.
  runtime: { main: "dist/main.js", download: "dist/download/main.js", "hash-worker": "dist/artifact/transfer/hash-worker/main.js" },
  "mock-engine": { main: "dist/main.js", vllm: "dist/vllm/main.js" },
  "dev-services": { main: "dist/main.js" },
};

export default Object.entries(PROGRAMS).map(([name, entries]) => ({
  input: Object.fromEntries(Object.entries(entries).map(([entry, file]) => [entry, `packages/${name}/${file}`])),
  platform: "node",
  output: {
    dir: `${process.env.OUT ?? "bundle"}/${name}/app`,
    format: "esm",
    // What is imported late stays apart, so that a start reads only what it needs. Nothing is minified: a stack trace names places.
    entryFileNames: "[name].mjs",
    chunkFileNames: "chunks/[name]-[hash].mjs",
  },
}));

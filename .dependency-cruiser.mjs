const packages = "^packages/";

/** A package that may import no other package of this workspace, apart from those listed. */
function only(name, allowed, comment) {
  const others = ["api", "kube", "service", "controller", "gateway", "runtime", "mock-engine", "devcluster", "dev-services"].filter(
    (p) => p !== name && !allowed.includes(p),
  );
  return {
    name: `${name}-imports`,
    severity: "error",
    comment,
    from: { path: `${packages}${name}/src/` },
    to: { path: [`${packages}(${others.join("|")})/`, `^@aibrix/(${others.join("|")})$`] },
  };
}

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    { name: "no-circular", severity: "error", comment: "A cycle has no order of reading.", from: {}, to: { circular: true } },
    only("api", [], "The contract knows nobody."),
    only("kube", [], "It knows Kubernetes and no part of this system."),
    only("service", [], "The process kit knows no other part."),
    only("controller", ["api", "kube", "service"], "Controller, gateway and runtime meet in api and on the wire."),
    only("runtime", ["api", "service"], "Controller, gateway and runtime meet in api and on the wire."),
    only("gateway", ["api", "kube", "service"], "Controller, gateway and runtime meet in api and on the wire."),
    {
      name: "gateway-loads-kube-late",
      severity: "error",
      comment: "Standalone use starts without what only a cluster needs: gateway.ts imports src/kubernetes when it is asked to.",
      from: { path: "^packages/gateway/src/(?!kubernetes/)" },
      to: { path: "^packages/(gateway/src/kubernetes|kube)/", dynamic: false, dependencyTypesNot: ["type-only"] },
    },
    only("mock-engine", [], "A stand-in for a foreign program shares no code with ours."),
    only("devcluster", ["api"], "It uses production code only by its public commands, and the contract."),
    only("dev-services", ["service", "devcluster"], "It stands beside the system in a cluster, and is no part of it."),
    {
      name: "api-is-light",
      severity: "error",
      comment: "Everybody imports api: it may import typebox only, and nothing that does I/O.",
      from: { path: "^packages/api/src/", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["core", "npm"], pathNot: "typebox" },
    },
    {
      name: "plan-is-pure",
      severity: "error",
      comment: "plan*.ts decides and does no I/O.",
      from: { path: "/plan[^/]*\\.ts$", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "public-entry-only",
      severity: "error",
      comment: "Other packages are used by their index.",
      from: { path: "^(packages|e2e)/([^/]+)/" },
      to: { path: "^packages/([^/]+)/src/(?!index\\.ts$)", pathNot: "^packages/$2/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/(dist|generated)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.test.json" },
    enhancedResolveOptions: { conditionNames: ["@aibrix/source", "import", "node", "default", "types"], exportsFields: ["exports"] },
  },
};

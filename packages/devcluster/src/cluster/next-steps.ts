import { type CommandTexts, shellWord } from "../stack/commands.ts";

/** What the texts after a start depend on. */
export interface ClusterStepsInput {
  readonly gateway: string;
  readonly kubeconfig: string;
  /** Folder with `kubectl`. */
  readonly bin: string;
  /** Folder of the checkout's samples, as short as it can be said. */
  readonly samples: string;
  /** Goes before images' names. */
  readonly imageRegistry: string | undefined;
  readonly commands: CommandTexts;
  readonly detached: boolean;
  /** Variables of the user's shell: proxies in it concern kubectl and curl. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/** What to type next, for a user who has just started a cluster. Pure. */
export function clusterSteps({
  gateway,
  kubeconfig,
  bin,
  samples,
  imageRegistry,
  commands,
  detached,
  env,
}: ClusterStepsInput): readonly string[] {
  const body = JSON.stringify({ model: "qwen-code-lora", prompt: "San Francisco is a", max_tokens: 16, temperature: 0 });
  const file = (name: string) => shellWord(`${samples}/adapter/${name}`);
  return [
    "",
    "Make kubectl use this cluster:",
    `  export KUBECONFIG=${shellWord(kubeconfig)}`,
    `  export PATH=${shellWord(bin)}:$PATH`,
    ...noProxy(gateway, env),
    "",
    "Serve a base model, then an adapter for it:",
    ...(imageRegistry === undefined ? [] : [`  (put ${imageRegistry}/ before the images in base.yaml first; they are pulled from there)`]),
    `  kubectl apply -f ${file("base.yaml")}`,
    "  kubectl rollout status deployment/qwen-coder-1-5b-instruct",
    `  kubectl apply -f ${file("adapter.yaml")}`,
    "  kubectl describe modeladapter qwen-code-lora",
    "",
    "Ask the adapter:",
    `  curl ${gateway}/v1/completions \\`,
    "    -H 'Content-Type: application/json' \\",
    `    -d '${body}'`,
    "",
    `What is served:   ${commands.status}`,
    `End everything:   ${commands.stop}${detached ? "" : "  (or Ctrl-C here)"}`,
  ];
}

/** Without it a proxy of the user's would be asked for the node, which only this machine reaches. Both spellings: curl prefers the small one. */
function noProxy(gateway: string, env: ClusterStepsInput["env"]): readonly string[] {
  if (!PROXIES.some((name) => env[name] || env[name.toLowerCase()])) return [];
  const host = new URL(gateway).hostname.replace(/^\[|\]$/g, "");
  const known = [env.NO_PROXY, env.no_proxy].flatMap((list) => list?.split(",") ?? []).map((each) => each.trim());
  const list = shellWord([...new Set([...known, host])].filter(Boolean).join(","));
  return [`  export NO_PROXY=${list} no_proxy=${list}`];
}

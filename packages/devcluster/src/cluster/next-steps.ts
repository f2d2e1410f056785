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
}

/** What to type next, for a user who has just started a cluster. Pure. */
export function clusterSteps({
  gateway,
  kubeconfig,
  bin,
  samples,
  imageRegistry,
  commands,
  detached,
}: ClusterStepsInput): readonly string[] {
  const body = JSON.stringify({ model: "qwen-code-lora", prompt: "San Francisco is a", max_tokens: 16, temperature: 0 });
  const file = (name: string) => shellWord(`${samples}/adapter/${name}`);
  return [
    "",
    "Make kubectl use this cluster:",
    `  export KUBECONFIG=${shellWord(kubeconfig)}`,
    `  export PATH=${shellWord(bin)}:$PATH`,
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

/** What a command of vLLM's image asks for: the engine's arguments, or why it is none that this stand-in knows. */
export type VllmCommand =
  | { readonly kind: "engine"; readonly args: readonly string[] }
  | { readonly kind: "error"; readonly message: string };

const MODULE = "vllm.entrypoints.openai.api_server";

/**
 * Reads the two ways to start vLLM's server: `python3 -m vllm.entrypoints.openai.api_server ARGS` and `vllm serve [MODEL] ARGS`.
 *
 * @param program - the name that it was called by, without its folder
 */
export function vllmCommand(program: string, argv: readonly string[]): VllmCommand {
  if (program === "vllm") {
    if (argv[0] === "serve") return { kind: "engine", args: argv.slice(1) };
    return { kind: "error", message: "only `vllm serve [MODEL] ARGUMENTS` is known to this stand-in for vLLM" };
  }
  // -u and the like say how Python runs, which means nothing here.
  const rest = argv.slice(argv.findIndex((word) => !/^-[uBEIOsSq]+$/.test(word)));
  if (rest[0] === "-m" && rest[1] === MODULE) return { kind: "engine", args: rest.slice(2) };
  return { kind: "error", message: `there is no Python in this image: \`${program} -m ${MODULE} ARGUMENTS\` starts a stand-in for vLLM` };
}
